/* The JSON of container images: index, manifest and configuration of the OCI image specification 1.1 (and Docker's, which have the
 * same shape), and the manifest.json of Docker's archives.
 *
 * Pure and fuzzed: text in, structs out; who reads blobs, and checks that they are what their digest says, is source.c. Everything
 * in a struct lives as long as the arena and the document it was read with. */
#pragma once

#include "runtime/base/arena.h"
#include "runtime/base/json.h"

#define RT_IMAGE_DIGEST_HEX 64
/* An index may list others; nobody nests deeper. */
#define RT_IMAGE_INDEX_DEPTH 4
#define RT_IMAGE_LAYERS_MAX 1024

struct rt_image_platform {
	const char *os, *architecture, *variant; /* NULL where absent */
};

enum rt_image_kind {
	RT_IMAGE_INDEX,
	RT_IMAGE_MANIFEST,
	RT_IMAGE_CONFIG,
	RT_IMAGE_LAYER,
	RT_IMAGE_OTHER, /* signatures, attestations, artifacts, ...: not for us */
};

struct rt_image_descriptor {
	enum rt_image_kind kind;
	const char *media_type; /* "" where absent */
	const char *hex; /* SHA-256, 64 digits in lower case; for Docker's archives what the file is called may be all there is: NULL */
	const char *path; /* of a file in a Docker archive; NULL elsewhere */
	uint64_t size;
	bool has_size;
	struct rt_image_platform platform;
	const char *name; /* org.opencontainers.image.ref.name: the tag */
};

struct rt_image_index {
	const struct rt_image_descriptor *entries;
	size_t count;
};

struct rt_image_manifest {
	struct rt_image_descriptor config;
	const struct rt_image_descriptor *layers;
	size_t layer_count;
};

struct rt_image_config {
	struct rt_image_platform platform;
	const char *os_version, *created, *author; /* NULL where absent */
	const char *user, *working_dir, *stop_signal;
	const char *const *env, *const *entrypoint, *const *cmd, *const *volumes, *const *ports, *const *os_features; /* NULL-terminated, never NULL */
	const struct rt_image_label {
		const char *key, *value;
	} *labels;
	size_t label_count;
	const char *const *diff_ids; /* hex digits: of the layers, uncompressed */
	size_t diff_id_count;
};

/* Each reads a document that rt_json_parse() gave; RT_CONFIG names the field. */
struct rt_error *rt_image_read_index(json_t *document, struct rt_arena *arena, struct rt_image_index *ret) _must_check_;
struct rt_error *rt_image_read_manifest(json_t *document, struct rt_arena *arena, struct rt_image_manifest *ret) _must_check_;
struct rt_error *rt_image_read_config(json_t *document, struct rt_arena *arena, struct rt_image_config *ret) _must_check_;

/* manifest.json of a Docker archive: one manifest an image. `tag` picks by repository tag ("busybox:latest", or all of it behind the
 * host's name); NULL: there must be one. */
struct rt_error *rt_image_read_docker(json_t *document, struct rt_arena *arena, const char *tag, struct rt_image_manifest *ret)
	_must_check_;

/* "linux/arm64/v8" into its parts, in the arena. */
struct rt_error *rt_image_platform_parse(const char *text, struct rt_arena *arena, struct rt_image_platform *ret) _must_check_;
/* Of this machine, by uname's word for it: "x86_64" is "amd64". */
struct rt_image_platform rt_image_platform_of(const char *machine);

/* Whether an image for `has` runs where `wanted` is asked for; parts that are absent fit. *ret_score is higher for the better one. */
bool rt_image_platform_fits(const struct rt_image_platform *wanted, const struct rt_image_platform *has, int *ret_score);

/* The entry for tag and platform; RT_NOT_FOUND names what there is. With one candidate its platform doesn't count. */
struct rt_error *rt_image_choose(const struct rt_image_index *index, const char *tag, const struct rt_image_platform *platform,
				 const struct rt_image_descriptor **ret) _must_check_;
