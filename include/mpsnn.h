/* SPDX-License-Identifier: MIT
 *
 * The C interface: what an application needs to run a graph that was archived. Open an archive for
 * a device, encode its graph on a command buffer, read the images that come out. The whole library
 * is C++: mpsnn/mpsnn.h.
 *
 * Stability. Functions, structures and numbers of this file keep their meaning; later versions only
 * add to it (mpsnn_abi_version() says how far). mpsnn_size, the one structure whose fields are
 * known, keeps its size; what later needs more is a new structure. No vendor's type and no
 * exception crosses it. It is C99 and C++11.
 *
 * Errors. A function that can fail returns an mpsnn_status; its results are written only where that
 * is MPSNN_OK. mpsnn_last_error() is the text of the calling thread's last failure: it names the
 * argument or node, what was expected and what came. Any of them may return MPSNN_OUT_OF_MEMORY;
 * what else each returns stands beside it.
 *
 * Arguments. NULL where an object, a text or a place for a result is wanted is
 * MPSNN_INVALID_ARGUMENT, from functions that return no status NULL or 0; where NULL has a meaning,
 * it stands beside the function. Texts are UTF-8 and end with a zero.
 *
 * Ownership. Every object that a function hands out through its last argument is the caller's, to
 * be given to its _release function once; NULL may be released, too. Objects keep what they need of
 * each other alive, so the order of releases does not matter. Texts that are
 * returned live as long as the object they were asked of; what is passed in is copied or used up
 * before the function returns.
 *
 * Threads. Devices, archives, graphs, outputs and images may be used from several threads; a
 * command buffer by one at a time. An object is released when no other thread uses it any more.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define MPSNN_NOEXCEPT noexcept
extern "C" {
#else
#define MPSNN_NOEXCEPT
#endif

/* What this header describes. */
#define MPSNN_ABI_VERSION 1

typedef enum mpsnn_status {
  MPSNN_OK = 0,
  MPSNN_INVALID_ARGUMENT = 1, /* right type, wrong value, size or shape; a NULL pointer */
  MPSNN_ARGUMENT_TYPE = 2,    /* wrong element type */
  MPSNN_UNSUPPORTED = 3,      /* the device cannot do this; the text says why */
  MPSNN_OUT_OF_MEMORY = 4,
  MPSNN_STATE = 5,   /* an object is not in the state that the call needs: committed twice … */
  MPSNN_DEVICE = 6,  /* work failed on the device, or the device is gone */
  MPSNN_ARCHIVE = 7, /* an archive is truncated, foreign or inconsistent */
  MPSNN_FILE = 8,    /* a file could not be opened or read */
  MPSNN_INTERNAL = 9 /* a defect of the library: please report it */
} mpsnn_status;

typedef enum mpsnn_data_type {
  MPSNN_FLOAT32 = 0,
  MPSNN_FLOAT16 = 1,
  MPSNN_DATA_TYPE_RANGE = 0x7fffffff /* no type: any int may be tried and is refused */
} mpsnn_data_type;

/* A batch of images: n images of height rows, width columns and channels, channels last. */
typedef struct mpsnn_size {
  int64_t n, height, width, channels;
} mpsnn_size;

typedef struct mpsnn_device mpsnn_device;
typedef struct mpsnn_archive mpsnn_archive;
typedef struct mpsnn_graph mpsnn_graph;
typedef struct mpsnn_image mpsnn_image;
typedef struct mpsnn_commands mpsnn_commands;
typedef struct mpsnn_outputs mpsnn_outputs;

/* The library's MPSNN_ABI_VERSION, at least that of the header a program was compiled with; and its
 * version "major.minor.patch", a text that stays. */
uint32_t mpsnn_abi_version(void) MPSNN_NOEXCEPT;
const char* mpsnn_version(void) MPSNN_NOEXCEPT;

/* The calling thread's last failure; "" where there was none. Valid until its next failure. */
const char* mpsnn_last_error(void) MPSNN_NOEXCEPT;

/* ---- devices ------------------------------------------------------------------------------------
 */

/* kind: "metal", "cpu"; NULL: the best one here. MPSNN_INVALID_ARGUMENT: no such device here, the
 * text says which there are. */
mpsnn_status mpsnn_device_create(const char* kind, mpsnn_device** device) MPSNN_NOEXCEPT;
void mpsnn_device_release(mpsnn_device* device) MPSNN_NOEXCEPT;
/* "cpu"; and the machine's name for it. */
const char* mpsnn_device_kind(const mpsnn_device* device) MPSNN_NOEXCEPT;
const char* mpsnn_device_name(const mpsnn_device* device) MPSNN_NOEXCEPT;

/* ---- archives -----------------------------------------------------------------------------------
 */

/* Opens and checks a file for a device; the file stays mapped while the archive or what came out of
 * it lives. MPSNN_FILE: it cannot be read; MPSNN_ARCHIVE: it is no archive, or a damaged one. */
mpsnn_status mpsnn_archive_open(const mpsnn_device* device, const char* path,
                                mpsnn_archive** archive) MPSNN_NOEXCEPT;
void mpsnn_archive_release(mpsnn_archive* archive) MPSNN_NOEXCEPT;
/* Keys of its graphs, in the order of the alphabet; NULL beyond their number. */
size_t mpsnn_archive_key_count(const mpsnn_archive* archive) MPSNN_NOEXCEPT;
const char* mpsnn_archive_key(const mpsnn_archive* archive, size_t index) MPSNN_NOEXCEPT;
/* A text that was stored beside the graphs; NULL where there is none of that name. */
const char* mpsnn_archive_metadata(const mpsnn_archive* archive, const char* name) MPSNN_NOEXCEPT;
/* Makes the graph of that key, with the stored weights. Graphs of one archive share their weights.
 * MPSNN_INVALID_ARGUMENT: no such key; MPSNN_ARCHIVE: what is stored is inconsistent, or of a class
 * of its writer's own; MPSNN_UNSUPPORTED: an operation that the device lacks. */
mpsnn_status mpsnn_archive_graph(const mpsnn_archive* archive, const char* key,
                                 mpsnn_graph** graph) MPSNN_NOEXCEPT;

/* ---- graphs -------------------------------------------------------------------------------------
 */

void mpsnn_graph_release(mpsnn_graph* graph) MPSNN_NOEXCEPT;
/* Handles of the images that it wants, in the order of mpsnn_graph_encode; NULL beyond their
 * number. */
size_t mpsnn_graph_source_count(const mpsnn_graph* graph) MPSNN_NOEXCEPT;
const char* mpsnn_graph_source_handle(const mpsnn_graph* graph, size_t index) MPSNN_NOEXCEPT;
/* The element type of a source's images. MPSNN_INVALID_ARGUMENT: an index beyond their number. */
mpsnn_status mpsnn_graph_source_type(const mpsnn_graph* graph, size_t index,
                                     mpsnn_data_type* type) MPSNN_NOEXCEPT;
/* Number of result images; those that the graph was made without are counted, too. */
size_t mpsnn_graph_result_count(const mpsnn_graph* graph) MPSNN_NOEXCEPT;
/* Records one run: sources[0 … count) in the order of the source handles. Nothing runs before the
 * commands are committed, but for pieces that are handed over early. A graph that trains changes
 * its weights. MPSNN_INVALID_ARGUMENT: a wrong count, size or number of channels;
 * MPSNN_ARGUMENT_TYPE: a wrong element type; MPSNN_UNSUPPORTED: a graph that wants states, an
 * operation that the device lacks. */
mpsnn_status mpsnn_graph_encode(const mpsnn_graph* graph, mpsnn_commands* commands,
                                const mpsnn_image* const* sources, size_t count,
                                mpsnn_outputs** outputs) MPSNN_NOEXCEPT;

/* ---- what an encode makes -----------------------------------------------------------------------
 */

void mpsnn_outputs_release(mpsnn_outputs* outputs) MPSNN_NOEXCEPT;
/* A result by its place. *image is NULL where the graph was made without that result.
 * MPSNN_INVALID_ARGUMENT: an index beyond their number. */
mpsnn_status mpsnn_outputs_result(const mpsnn_outputs* outputs, size_t index,
                                  mpsnn_image** image) MPSNN_NOEXCEPT;
/* A result or exported image by its handle. MPSNN_INVALID_ARGUMENT: none of that name. */
mpsnn_status mpsnn_outputs_named(const mpsnn_outputs* outputs, const char* handle,
                                 mpsnn_image** image) MPSNN_NOEXCEPT;

/* ---- images -------------------------------------------------------------------------------------
 */

/* Copies `data`, dense (n, height, width, channels), size.n * … * size.channels elements of the
 * type; NULL: zeros. MPSNN_INVALID_ARGUMENT: an extent below 1, a size that no memory holds, no
 * such type; MPSNN_OUT_OF_MEMORY. */
mpsnn_status mpsnn_image_create(const mpsnn_device* device, mpsnn_size size, mpsnn_data_type type,
                                const void* data, mpsnn_image** image) MPSNN_NOEXCEPT;
void mpsnn_image_release(mpsnn_image* image) MPSNN_NOEXCEPT;
/* Of NULL: zeros, MPSNN_FLOAT32, 0. */
mpsnn_size mpsnn_image_size(const mpsnn_image* image) MPSNN_NOEXCEPT;
mpsnn_data_type mpsnn_image_type(const mpsnn_image* image) MPSNN_NOEXCEPT;
size_t mpsnn_image_bytes(const mpsnn_image* image) MPSNN_NOEXCEPT;
/* Waits for the work that makes the image and copies it. `bytes` must be mpsnn_image_bytes().
 * MPSNN_STATE: that work was not committed; MPSNN_DEVICE: it failed. */
mpsnn_status mpsnn_image_read(const mpsnn_image* image, void* to, size_t bytes) MPSNN_NOEXCEPT;
/* Replaces its contents with `bytes` bytes, mpsnn_image_bytes() of them, after all work that uses
 * it. MPSNN_STATE: such work was not committed; MPSNN_DEVICE: it failed. */
mpsnn_status mpsnn_image_write(mpsnn_image* image, const void* from, size_t bytes) MPSNN_NOEXCEPT;

/* ---- command buffers ----------------------------------------------------------------------------
 */

/* On the device's queue. label may be NULL. */
mpsnn_status mpsnn_commands_create(const mpsnn_device* device, const char* label,
                                   mpsnn_commands** commands) MPSNN_NOEXCEPT;
/* Work that was committed goes on. */
void mpsnn_commands_release(mpsnn_commands* commands) MPSNN_NOEXCEPT;
/* Hands all that was recorded to the device and ends recording. MPSNN_STATE: the second time. */
mpsnn_status mpsnn_commands_commit(mpsnn_commands* commands) MPSNN_NOEXCEPT;
/* Waits; the first failure of the work is this function's. MPSNN_STATE: nothing was committed. */
mpsnn_status mpsnn_commands_wait(const mpsnn_commands* commands) MPSNN_NOEXCEPT;

#ifdef __cplusplus
}
#endif
