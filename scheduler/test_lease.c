/* SPDX-License-Identifier: Apache-2.0
 *
 * The arbiter's decision: parts by weight, at once for who comes, back to who works when somebody
 * stops, and no changes without a reason.
 */
#include "scheduler/lease.h"
#include "transport/testing.h"

#include <string.h>

#define MS 1000000ull
#define MAX 64

struct machine {
	enum lease_mode mode;
	uint32_t devices;
	unsigned n;
	uint64_t now;
	struct lease_tenant tenant[MAX];
	struct lease_tenant *tenants[MAX];
};

static void machine_new(struct machine *m, enum lease_mode mode, uint32_t devices, unsigned n)
{
	memset(m, 0, sizeof(*m));
	m->mode = mode;
	m->devices = devices;
	m->n = n;
	m->now = 1000 * MS;
	for (unsigned i = 0; i < n; i++) {
		m->tenants[i] = &m->tenant[i];
		m->tenant[i].weight = LEASE_WEIGHT;
		m->tenant[i].allowed = ~0u;
	}
}

static uint64_t decide(struct machine *m)
{
	return lease_decide(m->mode, m->devices, m->tenants, m->n, m->now);
}

/* Decides so much later. Return: how many leases were changed. */
static unsigned after(struct machine *m, uint64_t ms)
{
	struct lease before[MAX][LEASE_DEVICES];
	unsigned changed = 0;

	for (unsigned i = 0; i < m->n; i++)
		memcpy(before[i], m->tenant[i].lease, sizeof(before[i]));
	m->now += ms * MS;
	decide(m);
	for (unsigned i = 0; i < m->n; i++)
		for (unsigned d = 0; d < LEASE_DEVICES; d++)
			changed += memcmp(&before[i][d], &m->tenant[i].lease[d],
					  sizeof(before[i][d])) != 0;
	return changed;
}

static uint32_t share(const struct machine *m, unsigned tenant, unsigned device)
{
	return m->tenant[tenant].lease[device].share;
}

/* What a tenant has of all devices, when everybody who works always has something to do. */
static double part(const struct machine *m, unsigned tenant)
{
	double sum = 0;

	for (unsigned d = 0; d < LEASE_DEVICES; d++) {
		double all = 0;

		for (unsigned i = 0; i < m->n; i++)
			all += m->tenant[i].active ? share(m, i, d) : 0;
		if (all > 0 && m->tenant[tenant].active)
			sum += share(m, tenant, d) / all;
	}
	return sum;
}

/* Jain's index of what those that work have for their weight. */
static double jain(const struct machine *m)
{
	double sum = 0, squares = 0;
	unsigned n = 0;

	for (unsigned i = 0; i < m->n; i++) {
		double x = part(m, i) / m->tenant[i].weight;

		if (!m->tenant[i].active)
			continue;
		n++;
		sum += x;
		squares += x * x;
	}
	return n ? sum * sum / (n * squares) : 1;
}

static unsigned held(const struct machine *m, unsigned tenant)
{
	unsigned count = 0;

	for (unsigned d = 0; d < LEASE_DEVICES; d++)
		count += share(m, tenant, d) != 0;
	return count;
}

static bool near(double a, double b)
{
	return a > b - 0.02 && a < b + 0.02;
}

static void test_everybody(void)
{
	struct machine m;

	machine_new(&m, LEASE_EVERYBODY, 3, 1);
	CHECK(decide(&m) == 0);
	CHECK(share(&m, 0, 0) == 1024 && share(&m, 0, 1) == 1024 && share(&m, 0, 2) == 0);
	machine_new(&m, LEASE_EVERYBODY, 3, 2);
	m.tenant[1].weight = 300;
	decide(&m);
	CHECK(share(&m, 0, 0) == 256 && share(&m, 1, 1) == 768);
	m.tenant[1].allowed = 2;
	CHECK(after(&m, 1) == 2);
	CHECK(share(&m, 0, 0) == 1024 && share(&m, 1, 0) == 0 && share(&m, 0, 1) == 256);
	CHECK(lease_mode("fair") == LEASE_FAIR && lease_mode("elastic") == LEASE_ELASTIC);
	CHECK(lease_mode("adaptive") == LEASE_EVERYBODY);
}

/* Who begins has its part in the very decision that sees it, and who stops keeps it for a while. */
static void test_fair(void)
{
	struct machine m;

	machine_new(&m, LEASE_FAIR, 0xf, 2);
	m.tenant[0].working = true;
	decide(&m);
	CHECK(near(part(&m, 0), 4) && share(&m, 0, 3) == 1024);
	/* For its first command. */
	CHECK(share(&m, 1, 0) == 1024 && m.tenant[1].lease[0].depth >= 2);
	m.tenant[1].working = true;
	CHECK(after(&m, 1));
	CHECK(near(part(&m, 0), 2) && near(part(&m, 1), 2) && share(&m, 0, 0) == 512);

	m.tenant[1].working = false;
	CHECK(after(&m, 10) == 0);
	CHECK(decide(&m) == LEASE_LINGER_NS - 10 * MS);
	CHECK(after(&m, 39) == 0);
	CHECK(after(&m, 1));
	CHECK(near(part(&m, 0), 4) && decide(&m) == 0);

	m.tenant[0].weight = 300;
	m.tenant[1].working = true;
	after(&m, 1);
	CHECK(near(part(&m, 0), 3) && near(part(&m, 1), 1) && jain(&m) > 0.999);
}

/* Who may have fewer devices has more of them. */
static void test_max_min(void)
{
	struct machine m;

	machine_new(&m, LEASE_FAIR, 3, 2);
	m.tenant[0].working = m.tenant[1].working = true;
	m.tenant[0].allowed = 1;
	decide(&m);
	CHECK(near(part(&m, 0), 1) && near(part(&m, 1), 1) && jain(&m) > 0.999);

	/* No more than there is: one device for two, three for the third. */
	machine_new(&m, LEASE_FAIR, 0xf, 3);
	for (unsigned i = 0; i < 3; i++)
		m.tenant[i].working = true;
	m.tenant[0].allowed = m.tenant[1].allowed = 1;
	decide(&m);
	CHECK(near(part(&m, 0), 0.5) && near(part(&m, 1), 0.5) && near(part(&m, 2), 3));

	machine_new(&m, LEASE_FAIR, 7, 3);
	for (unsigned i = 0; i < 3; i++)
		m.tenant[i].working = true;
	m.tenant[0].allowed = 3;
	m.tenant[1].allowed = 6;
	decide(&m);
	CHECK(jain(&m) > 0.98);
}

static void test_elastic(void)
{
	struct machine m;

	machine_new(&m, LEASE_ELASTIC, 0xf, 4);
	m.tenant[0].working = true;
	decide(&m);
	CHECK(held(&m, 0) == 4 && near(part(&m, 0), 4));
	/* The others stand by where the first would leave, on as much as they would get. */
	CHECK(held(&m, 1) == 2 && share(&m, 1, 3) && share(&m, 1, 2));

	m.tenant[1].working = true;
	CHECK(after(&m, 1));
	CHECK(share(&m, 0, 0) == 1024 && share(&m, 0, 1) == 1024 && held(&m, 0) == 2);
	CHECK(share(&m, 1, 2) == 1024 && share(&m, 1, 3) == 1024 && held(&m, 1) == 2);
	CHECK(after(&m, 1) == 0);

	m.tenant[2].working = true;
	CHECK(after(&m, 1));
	for (unsigned i = 0; i < 3; i++)
		CHECK(near(part(&m, i), 4.0 / 3));
	/* What one has it keeps, up to its part. */
	CHECK(share(&m, 0, 0) == 1024 && share(&m, 1, 3) == 0 + share(&m, 1, 3));
	CHECK(after(&m, 1) == 0 && jain(&m) > 0.999);

	m.tenant[3].working = true;
	after(&m, 1);
	for (unsigned i = 0; i < 4; i++)
		CHECK(near(part(&m, i), 1));
	CHECK(after(&m, 1) == 0);

	/* Two leave: what they had goes to the others, who keep what they have. */
	uint32_t first = share(&m, 0, 0);
	m.tenant[1].working = m.tenant[2].working = false;
	CHECK(after(&m, 20) == 0);
	CHECK(after(&m, 40));
	CHECK(near(part(&m, 0), 2) && near(part(&m, 3), 2) && share(&m, 0, 0) >= first);

	/* A device goes, one comes. */
	m.devices = 0x7;
	after(&m, 1);
	CHECK(near(part(&m, 0), 1.5) && near(part(&m, 3), 1.5) && jain(&m) > 0.999);
	m.devices = 0x1f;
	after(&m, 1);
	CHECK(near(part(&m, 0), 2.5) && near(part(&m, 3), 2.5));
}

/* More tenants than devices, with weights. */
static void test_crowd(void)
{
	static const enum lease_mode modes[] = {LEASE_FAIR, LEASE_ELASTIC};
	struct machine m;

	for (int i = 0; i < 2; i++) {
		machine_new(&m, modes[i], 3, 8);
		for (unsigned t = 0; t < 8; t++) {
			m.tenant[t].working = true;
			m.tenant[t].weight = t < 2 ? 300 : 100;
		}
		decide(&m);
		for (unsigned t = 0; t < 8; t++)
			CHECK(near(part(&m, t), t < 2 ? 0.5 : 1.0 / 6));
		CHECK(jain(&m) > 0.98 && after(&m, 1) == 0);
	}
}

/* Ten ms of work, ten ms of pause, for a second: nobody's devices come and go. */
static void test_hysteresis(void)
{
	struct machine m;
	unsigned changes = 0;

	machine_new(&m, LEASE_ELASTIC, 0xf, 2);
	m.tenant[0].working = m.tenant[1].working = true;
	decide(&m);
	for (unsigned ms = 0; ms < 1000; ms++) {
		m.tenant[1].working = ms / 10 % 2;
		changes += after(&m, 1);
	}
	CHECK(changes == 0);
	CHECK(held(&m, 0) == 2 && held(&m, 1) == 2);
}

static void test_depth(void)
{
	struct machine m;

	machine_new(&m, LEASE_ELASTIC, 1, 1);
	m.tenant[0].working = true;
	decide(&m);
	CHECK(m.tenant[0].lease[0].depth == 8);
	m.tenant[0].command_ns = 10000;
	after(&m, 1);
	CHECK(m.tenant[0].lease[0].depth == 64);
	m.tenant[0].command_ns = 10 * MS;
	after(&m, 1);
	CHECK(m.tenant[0].lease[0].depth == 2);
	m.tenant[0].command_ns = 300000;
	after(&m, 1);
	uint32_t depth = m.tenant[0].lease[0].depth;
	CHECK(depth == 16);
	/* An average moves; the lease does not. */
	m.tenant[0].command_ns = 400000;
	CHECK(after(&m, 1) == 0);
	m.tenant[0].command_ns = 250000;
	CHECK(after(&m, 1) == 0);
	m.tenant[0].command_ns = 900000;
	CHECK(after(&m, 1) == 1 && m.tenant[0].lease[0].depth == 4);
}

/* Whatever comes and goes: nobody has what it may not have or what is not there, who works has
 * something, and nothing changes without a reason. */
static void check_rules(struct machine *m)
{
	for (unsigned i = 0; i < m->n; i++) {
		const struct lease_tenant *t = &m->tenant[i];

		for (unsigned d = 0; d < LEASE_DEVICES; d++) {
			CHECK(t->lease[d].share <= LEASE_SHARE);
			CHECK(!t->lease[d].share == !t->lease[d].depth);
			CHECK(t->lease[d].depth <= LEASE_DEPTH_MAX);
			if (!(t->allowed & m->devices & 1u << d))
				CHECK(!t->lease[d].share);
		}
		CHECK(held(m, i) || !(t->allowed & m->devices));
	}
	CHECK(after(m, 0) == 0);
}

static void test_random_machines(void)
{
	uint64_t random = 1;

	for (unsigned round = 0; round < 300; round++) {
		struct machine m;

		machine_new(&m, (enum lease_mode)(round % 3), test_random(&random) & 0xffff,
			    1 + (unsigned)(test_random(&random) % MAX));
		bool alike = round % 2;
		for (unsigned i = 0; i < m.n; i++) {
			m.tenant[i].weight = 100 + (uint32_t)(test_random(&random) % 300);
			if (!alike)
				m.tenant[i].allowed = (uint32_t)test_random(&random);
		}
		for (unsigned step = 0; step < 20; step++) {
			struct lease_tenant *t = &m.tenant[test_random(&random) % m.n];

			t->working = !t->working;
			t->command_ns = test_random(&random) % (20 * MS);
			if (step % 5 == 4)
				m.devices ^= 1u << test_random(&random) % LEASE_DEVICES;
			after(&m, test_random(&random) % 70);
			check_rules(&m);
			if (alike && m.mode != LEASE_EVERYBODY && m.devices & 0xffff &&
			    round % 3 == LEASE_FAIR)
				CHECK(jain(&m) >= 0.98);
		}
	}
}

/* Equal weights on a machine like 8 GPUs and 2 FPGAs, up to 64 tenants. */
static void test_large(void)
{
	static const enum lease_mode modes[] = {LEASE_FAIR, LEASE_ELASTIC};
	struct machine m;

	for (int i = 0; i < 2; i++) {
		machine_new(&m, modes[i], 0x3ff, 64);
		for (unsigned n = 0; n < 64; n++) {
			m.tenant[n].working = true;
			after(&m, 1);
			CHECK(jain(&m) >= 0.98);
			CHECK(near(part(&m, n) * (n + 1) / 10, 1) || jain(&m) >= 0.98);
			check_rules(&m);
		}
	}
}

/* Applications of two users; what is said of urgency moves weight within one, or gives it away. */
static void test_priorities(void)
{
	struct machine m;
	static const struct {
		int urgency[4];
		double part[4];
	} cases[] = {
	    {{0, 0, 0, 0}, {0.25, 0.25, 0.25, 0.25}},  {{1, 0, 0, 0}, {0.4, 0.1, 0.25, 0.25}},
	    {{1, 1, 0, 0}, {0.25, 0.25, 0.25, 0.25}},  {{1, -1, 0, 0}, {0.47, 0.03, 0.25, 0.25}},
	    {{0, 0, -1, 0}, {0.31, 0.31, 0.08, 0.31}}, {{0, 0, -1, -1}, {0.4, 0.4, 0.1, 0.1}},
	    {{7, 0, -9, 0}, {0.49, 0.12, 0.08, 0.31}},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		machine_new(&m, LEASE_FAIR, 1, 4);
		for (unsigned t = 0; t < 4; t++) {
			m.tenant[t].working = true;
			m.tenant[t].urgency = cases[i].urgency[t];
			m.tenant[t].domain = t / 2 * 2;
		}
		lease_weigh(m.tenants, m.n);
		decide(&m);
		for (unsigned t = 0; t < 4; t++)
			CHECK(near(part(&m, t), cases[i].part[t]));
	}
}

int main(void)
{
	test_priorities();
	test_everybody();
	test_fair();
	test_max_min();
	test_elastic();
	test_crowd();
	test_hysteresis();
	test_depth();
	test_large();
	test_random_machines();
	return 0;
}
