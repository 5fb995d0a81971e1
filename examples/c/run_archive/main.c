/* SPDX-License-Identifier: MIT
 * A plain C program: lists the graphs of an archive, or runs one of them on grey pictures and
 * prints the mean of what comes out. Built out of tree, with nothing but find_package(mpsnn). */
#include <mpsnn.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST_SOURCES = 16 };

static int report(const char* what, mpsnn_status status) {
  if (status == MPSNN_OK) return 0;
  fprintf(stderr, "run_archive: %s: error %d: %s\n", what, (int)status, mpsnn_last_error());
  return 1;
}

static int list(const mpsnn_archive* archive) {
  for (size_t i = 0; i < mpsnn_archive_key_count(archive); ++i) {
    const char* key = mpsnn_archive_key(archive, i);
    mpsnn_graph* graph = NULL;
    if (report(key, mpsnn_archive_graph(archive, key, &graph))) return 1;
    printf("%s: %zu results from", key, mpsnn_graph_result_count(graph));
    for (size_t j = 0; j < mpsnn_graph_source_count(graph); ++j)
      printf(" %s", mpsnn_graph_source_handle(graph, j));
    printf("\n");
    mpsnn_graph_release(graph);
  }
  return 0;
}

static int print_mean(const mpsnn_image* image) {
  const size_t count = mpsnn_image_bytes(image) / sizeof(float);
  float* const values = malloc(mpsnn_image_bytes(image));
  if (values == NULL) return 1;
  const int failed =
      report("reading the result", mpsnn_image_read(image, values, mpsnn_image_bytes(image)));
  double sum = 0;
  for (size_t i = 0; !failed && i < count; ++i) sum += values[i];
  const mpsnn_size size = mpsnn_image_size(image);
  if (!failed) {
    printf("(%d, %d, %d, %d): mean %.6f\n", (int)size.n, (int)size.height, (int)size.width,
           (int)size.channels, sum / (double)count);
  }
  free(values);
  return failed;
}

/* The graph runs on what was put into `sources`. */
static int encode_and_print(const mpsnn_device* device, const mpsnn_graph* graph,
                            const mpsnn_image* const* sources, size_t count) {
  mpsnn_commands* commands = NULL;
  mpsnn_outputs* outputs = NULL;
  mpsnn_image* result = NULL;
  int failed = report("commands", mpsnn_commands_create(device, "run", &commands)) ||
               report("encode", mpsnn_graph_encode(graph, commands, sources, count, &outputs)) ||
               report("commit", mpsnn_commands_commit(commands)) ||
               report("the device's work", mpsnn_commands_wait(commands)) ||
               report("result 0", mpsnn_outputs_result(outputs, 0, &result));
  if (!failed && result != NULL) failed = print_mean(result);
  mpsnn_image_release(result);
  mpsnn_outputs_release(outputs);
  mpsnn_commands_release(commands);
  return failed;
}

/* Every source is a grey picture of that size. */
static int run(const mpsnn_device* device, const mpsnn_archive* archive, const char* key,
               mpsnn_size size) {
  const size_t values = (size_t)(size.n * size.height * size.width * size.channels);
  mpsnn_graph* graph = NULL;
  if (report(key, mpsnn_archive_graph(archive, key, &graph))) return 1;
  const size_t count = mpsnn_graph_source_count(graph);
  mpsnn_image* sources[MOST_SOURCES] = {NULL};
  float* const grey = malloc(values * sizeof(float));
  int failed = grey == NULL || count > MOST_SOURCES;
  for (size_t i = 0; !failed && i < values; ++i) grey[i] = 0.5F;
  for (size_t i = 0; !failed && i < count; ++i) {
    failed = report(mpsnn_graph_source_handle(graph, i),
                    mpsnn_image_create(device, size, MPSNN_FLOAT32, grey, &sources[i]));
  }
  if (!failed) failed = encode_and_print(device, graph, (const mpsnn_image* const*)sources, count);
  for (size_t i = 0; i < MOST_SOURCES; ++i) mpsnn_image_release(sources[i]);
  free(grey);
  mpsnn_graph_release(graph);
  return failed;
}

int main(int argc, char** argv) {
  if (argc != 2 && argc != 6) {
    fprintf(stderr, "usage: run_archive ARCHIVE [KEY HEIGHT WIDTH CHANNELS]\n");
    return 2;
  }
  mpsnn_device* device = NULL;
  mpsnn_archive* archive = NULL;
  int failed = report("device", mpsnn_device_create(NULL, &device)) ||
               report(argv[1], mpsnn_archive_open(device, argv[1], &archive));
  if (!failed && argc == 2) failed = list(archive);
  if (!failed && argc == 6) {
    const mpsnn_size size = {1, atoi(argv[3]), atoi(argv[4]), atoi(argv[5])};
    if (size.height < 1 || size.width < 1 || size.channels < 1) {
      fprintf(stderr, "run_archive: expected HEIGHT, WIDTH and CHANNELS >= 1\n");
      failed = 1;
    } else {
      failed = run(device, archive, argv[2], size);
    }
  }
  mpsnn_archive_release(archive);
  mpsnn_device_release(device);
  return failed;
}
