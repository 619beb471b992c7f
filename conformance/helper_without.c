/*
 * helper_without CALL[,CALL...] PROGRAM [ARGUMENT...]: runs a program as on a kernel that lacks
 * these system calls, so that the degraded modes of the sandbox are tested on every machine.
 */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);

	if (argc < 3 || !ctx || seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ALLOW) < 0)
		return 2;
	for (char *name = strtok(argv[1], ","); name; name = strtok(NULL, ",")) {
		int number = seccomp_syscall_resolve_name(name);

		if (number == __NR_SCMP_ERROR && strcmp(name, "landlock_create_ruleset") == 0)
			number = 444;
		if (number < 0 || seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), number, 0) < 0) {
			fprintf(stderr, "%s: no such system call\n", name);
			return 2;
		}
	}
	if (seccomp_load(ctx) < 0)
		return 2;
	execv(argv[2], argv + 2);
	perror(argv[2]);
	return 2;
}
