/* SPDX-License-Identifier: Apache-2.0
 *
 * Entry points of the dispatch table for what the virtual device does not have: sharing with OpenGL
 * and EGL (their objects live in a driver of the application's process, the kernels elsewhere),
 * pipes (no device here has them) and cl_ext_device_fission (see device.c). No slot may be empty:
 * applications call without asking first. Each returns what its specification says for a device
 * or context without the feature, after the errors for handles that are no handles.
 */
#include "icd/icd.h"

#define UNUSED(x) ((void)(x))

/* ---- OpenGL: cl_khr_gl_sharing -------------------------------------------------------------- */

/* Section 5.4 of cl_khr_gl_sharing: CL_INVALID_CONTEXT if context is not a valid context or was
 * not created from a GL context, which none is. */
cl_mem arax_clCreateFromGLBuffer(cl_context context, cl_mem_flags flags, cl_GLuint bufobj,
				 int *errcode_ret)
{
	UNUSED(context);
	UNUSED(flags);
	UNUSED(bufobj);
	set_error(errcode_ret, CL_INVALID_CONTEXT);
	return NULL;
}

cl_mem arax_clCreateFromGLTexture(cl_context context, cl_mem_flags flags, cl_GLenum target,
				  cl_GLint miplevel, cl_GLuint texture, cl_int *errcode_ret)
{
	UNUSED(context);
	UNUSED(flags);
	UNUSED(target);
	UNUSED(miplevel);
	UNUSED(texture);
	set_error(errcode_ret, CL_INVALID_CONTEXT);
	return NULL;
}

cl_mem arax_clCreateFromGLTexture2D(cl_context context, cl_mem_flags flags, cl_GLenum target,
				    cl_GLint miplevel, cl_GLuint texture, cl_int *errcode_ret)
{
	return arax_clCreateFromGLTexture(context, flags, target, miplevel, texture, errcode_ret);
}

cl_mem arax_clCreateFromGLTexture3D(cl_context context, cl_mem_flags flags, cl_GLenum target,
				    cl_GLint miplevel, cl_GLuint texture, cl_int *errcode_ret)
{
	return arax_clCreateFromGLTexture(context, flags, target, miplevel, texture, errcode_ret);
}

cl_mem arax_clCreateFromGLRenderbuffer(cl_context context, cl_mem_flags flags,
				       cl_GLuint renderbuffer, cl_int *errcode_ret)
{
	return arax_clCreateFromGLBuffer(context, flags, renderbuffer, errcode_ret);
}

/* cl_khr_gl_sharing: CL_INVALID_GL_OBJECT if no GL object is associated with memobj. */
cl_int arax_clGetGLObjectInfo(cl_mem memobj, cl_gl_object_type *gl_object_type,
			      cl_GLuint *gl_object_name)
{
	UNUSED(gl_object_type);
	UNUSED(gl_object_name);
	return object_is(memobj, OBJECT_MEM) ? CL_INVALID_GL_OBJECT : CL_INVALID_MEM_OBJECT;
}

cl_int arax_clGetGLTextureInfo(cl_mem memobj, cl_gl_texture_info param_name,
			       size_t param_value_size, void *param_value,
			       size_t *param_value_size_ret)
{
	UNUSED(param_name);
	UNUSED(param_value_size);
	UNUSED(param_value);
	UNUSED(param_value_size_ret);
	return object_is(memobj, OBJECT_MEM) ? CL_INVALID_GL_OBJECT : CL_INVALID_MEM_OBJECT;
}

/* The errors that acquiring and releasing share, in the order of both specifications; unshared is
 * the last one. No objects at all is no error: only the place in the order is left. */
static cl_int hand_over(const struct command_desc *desc, cl_uint num_objects,
			const cl_mem *mem_objects, cl_int unshared)
{
	cl_int err = command_check(desc);

	if (err)
		return err;
	if ((num_objects != 0) != (mem_objects != NULL))
		return CL_INVALID_VALUE;
	for (cl_uint i = 0; i < num_objects; i++) {
		if (!object_is(mem_objects[i], OBJECT_MEM))
			return CL_INVALID_MEM_OBJECT;
	}
	return num_objects ? unshared : command_marker(desc, false, false);
}

/* cl_khr_gl_sharing: CL_INVALID_CONTEXT if the queue's context was not created from a GL context.
 */
cl_int arax_clEnqueueAcquireGLObjects(cl_command_queue command_queue, cl_uint num_objects,
				      const cl_mem *mem_objects, cl_uint num_events_in_wait_list,
				      const cl_event *event_wait_list, cl_event *event)
{
	struct command_desc desc = COMMAND(command_queue, CL_COMMAND_ACQUIRE_GL_OBJECTS);

	return hand_over(&desc, num_objects, mem_objects, CL_INVALID_CONTEXT);
}

cl_int arax_clEnqueueReleaseGLObjects(cl_command_queue command_queue, cl_uint num_objects,
				      const cl_mem *mem_objects, cl_uint num_events_in_wait_list,
				      const cl_event *event_wait_list, cl_event *event)
{
	struct command_desc desc = COMMAND(command_queue, CL_COMMAND_RELEASE_GL_OBJECTS);

	return hand_over(&desc, num_objects, mem_objects, CL_INVALID_CONTEXT);
}

/* cl_khr_gl_sharing: CL_INVALID_GL_SHAREGROUP_REFERENCE_KHR if the context that the properties name
 * cannot be shared with. */
cl_int arax_clGetGLContextInfoKHR(const cl_context_properties *properties,
				  cl_gl_context_info param_name, size_t param_value_size,
				  void *param_value, size_t *param_value_size_ret)
{
	UNUSED(properties);
	UNUSED(param_name);
	UNUSED(param_value_size);
	UNUSED(param_value);
	UNUSED(param_value_size_ret);
	return CL_INVALID_GL_SHAREGROUP_REFERENCE_KHR;
}

/* cl_khr_gl_event: CL_INVALID_CONTEXT if context was not created from a GL context. */
cl_event arax_clCreateEventFromGLsyncKHR(cl_context context, cl_GLsync sync, cl_int *errcode_ret)
{
	UNUSED(context);
	UNUSED(sync);
	set_error(errcode_ret, CL_INVALID_CONTEXT);
	return NULL;
}

/* ---- EGL: cl_khr_egl_image, cl_khr_egl_event ------------------------------------------------ */

/* cl_khr_egl_image: CL_INVALID_OPERATION if no device of the context can make images this way. */
cl_mem arax_clCreateFromEGLImageKHR(cl_context context, CLeglDisplayKHR display,
				    CLeglImageKHR image, cl_mem_flags flags,
				    const cl_egl_image_properties_khr *properties,
				    cl_int *errcode_ret)
{
	UNUSED(display);
	UNUSED(image);
	UNUSED(flags);
	UNUSED(properties);
	set_error(errcode_ret,
		  object_is(context, OBJECT_CONTEXT) ? CL_INVALID_OPERATION : CL_INVALID_CONTEXT);
	return NULL;
}

/* cl_khr_egl_image: CL_INVALID_EGL_OBJECT_KHR if memory objects were not created from EGL. */
cl_int arax_clEnqueueAcquireEGLObjectsKHR(cl_command_queue command_queue, cl_uint num_objects,
					  const cl_mem *mem_objects,
					  cl_uint num_events_in_wait_list,
					  const cl_event *event_wait_list, cl_event *event)
{
	struct command_desc desc = COMMAND(command_queue, CL_COMMAND_ACQUIRE_EGL_OBJECTS_KHR);

	return hand_over(&desc, num_objects, mem_objects, CL_INVALID_EGL_OBJECT_KHR);
}

cl_int arax_clEnqueueReleaseEGLObjectsKHR(cl_command_queue command_queue, cl_uint num_objects,
					  const cl_mem *mem_objects,
					  cl_uint num_events_in_wait_list,
					  const cl_event *event_wait_list, cl_event *event)
{
	struct command_desc desc = COMMAND(command_queue, CL_COMMAND_RELEASE_EGL_OBJECTS_KHR);

	return hand_over(&desc, num_objects, mem_objects, CL_INVALID_EGL_OBJECT_KHR);
}

/* cl_khr_egl_event: CL_INVALID_EGL_OBJECT_KHR if sync is not a sync object that can be used. */
cl_event arax_clCreateEventFromEGLSyncKHR(cl_context context, CLeglSyncKHR sync,
					  CLeglDisplayKHR display, cl_int *errcode_ret)
{
	UNUSED(sync);
	UNUSED(display);
	set_error(errcode_ret, object_is(context, OBJECT_CONTEXT) ? CL_INVALID_EGL_OBJECT_KHR
								  : CL_INVALID_CONTEXT);
	return NULL;
}

/* ---- pipes ---------------------------------------------------------------------------------- */

/* OpenCL 3.0, appendix on optional features, Pipes: CL_INVALID_OPERATION if no device of the
 * context supports them. */
cl_mem arax_clCreatePipe(cl_context context, cl_mem_flags flags, cl_uint pipe_packet_size,
			 cl_uint pipe_max_packets, const cl_pipe_properties *properties,
			 cl_int *errcode_ret)
{
	UNUSED(flags);
	UNUSED(pipe_packet_size);
	UNUSED(pipe_max_packets);
	UNUSED(properties);
	set_error(errcode_ret,
		  object_is(context, OBJECT_CONTEXT) ? CL_INVALID_OPERATION : CL_INVALID_CONTEXT);
	return NULL;
}

/* The same appendix: CL_INVALID_MEM_OBJECT, since pipe cannot be a valid pipe. */
cl_int arax_clGetPipeInfo(cl_mem pipe, cl_pipe_info param_name, size_t param_value_size,
			  void *param_value, size_t *param_value_size_ret)
{
	UNUSED(pipe);
	UNUSED(param_name);
	UNUSED(param_value_size);
	UNUSED(param_value);
	UNUSED(param_value_size_ret);
	return CL_INVALID_MEM_OBJECT;
}

/* ---- cl_ext_device_fission ------------------------------------------------------------------ */

/* CL_INVALID_PROPERTY if the properties are valid but not supported by the device. */
cl_int arax_clCreateSubDevicesEXT(cl_device_id in_device,
				  const cl_device_partition_property_ext *properties,
				  cl_uint num_entries, cl_device_id *out_devices,
				  cl_uint *num_devices)
{
	UNUSED(properties);
	UNUSED(num_entries);
	UNUSED(out_devices);
	UNUSED(num_devices);
	return object_is(in_device, OBJECT_DEVICE) ? CL_INVALID_PROPERTY : CL_INVALID_DEVICE;
}

/* Root devices are not counted. */
cl_int arax_clRetainDeviceEXT(cl_device_id device)
{
	return arax_clRetainDevice(device);
}

cl_int arax_clReleaseDeviceEXT(cl_device_id device)
{
	return arax_clReleaseDevice(device);
}
