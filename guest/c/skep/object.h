/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Objects, their programs and maps, and the structures that bpftool's skeletons fill in.
 *
 *   open ──▶ the object's bytes are this guest's own: initial values of .rodata, .data and .bss can be set
 *   load ──▶ the host has it: maps have handles
 *   attach ─▶ programs run
 *   destroy ▶ detached and closed; the host does the same for a guest that ends without it
 *
 * The structures have two forms. A skeleton made for libbpf-wasm.h gets the one of that header; a skeleton made by an
 * unmodified bpftool includes <bpf/libbpf.h> and gets libbpf's (SKEP_LIBBPF_SKELETON).
 */
#ifndef SKEP_OBJECT_H
#define SKEP_OBJECT_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "elf.h"
#include "errno.h"
#include "imports.h"
#include "map.h"

struct bpf_map {
	bpf_object_skel obj_ptr;
	char name[64];
	int handle_plus_one; /* 0: not asked for yet */
	struct bpf_map *next; /* every map of every open skeleton */
};

struct bpf_program {
	bpf_object_skel obj_ptr;
	char name[64];
	char attach_target[128]; /* empty: where the section says */
	bool autoattach;
};

#ifdef SKEP_LIBBPF_SKELETON

/* Links and objects are the host's; a skeleton only keeps pointers to them. */
struct bpf_link;
struct bpf_object;

struct bpf_map_skeleton {
	const char *name;
	struct bpf_map **map;
	void **mmaped;
	struct bpf_link **link;
};

struct bpf_prog_skeleton {
	const char *name;
	struct bpf_program **prog;
	struct bpf_link **link;
};

struct bpf_object_skeleton {
	size_t sz;
	const char *name;
	const void *data;
	size_t data_sz;
	struct bpf_object **obj;
	int map_cnt;
	int map_skel_sz;
	struct bpf_map_skeleton *maps;
	int prog_cnt;
	int prog_skel_sz;
	struct bpf_prog_skeleton *progs;
	bpf_object_skel handle;
	unsigned char *elf; /* our copy of data, where initial values are set */
};

#define SKEP_HANDLE(s) ((s)->handle)

#else

struct bpf_map_skeleton {
	const char *name;
	struct bpf_map **map;
	void **mmaped;
};

struct bpf_prog_skeleton {
	const char *name;
	struct bpf_program **prog;
};

struct bpf_object_skeleton {
	size_t sz;
	const char *name;
	void *data;
	size_t data_sz;
	size_t rodata_offset; /* as the skeleton's maker found them; unused here */
	size_t bss_offset;
	bpf_object_skel obj;
	int map_cnt;
	int map_skel_sz;
	struct bpf_map_skeleton *maps;
	int prog_cnt;
	int prog_skel_sz;
	struct bpf_prog_skeleton *progs;
	unsigned char *elf;
};

#define SKEP_HANDLE(s) ((s)->obj)

#endif /* SKEP_LIBBPF_SKELETON */

struct bpf_object_open_opts;

static struct bpf_map *skep_maps;

static inline struct bpf_map_skeleton *skep_map_at(struct bpf_object_skeleton *s, int i)
{
	return (struct bpf_map_skeleton *)((char *)s->maps + i * s->map_skel_sz);
}

static inline struct bpf_prog_skeleton *skep_prog_at(struct bpf_object_skeleton *s, int i)
{
	return (struct bpf_prog_skeleton *)((char *)s->progs + i * s->prog_skel_sz);
}

/* ---- maps ---- */

/* The map's handle, for bpf_map_*_elem; a negative errno. */
static inline int bpf_map__fd(const struct bpf_map *map)
{
	if (map->handle_plus_one)
		return map->handle_plus_one - 1;
	int handle = skep_result(wasm_bpf_map_fd_by_name(map->obj_ptr, map->name));
	if (handle >= 0)
		((struct bpf_map *)map)->handle_plus_one = handle + 1;
	return handle;
}

static inline const char *bpf_map__name(const struct bpf_map *map)
{
	return map->name;
}

/* libbpf's typed forms. The sizes must be the map's own; the host checks that the ranges lie in memory. */
static inline int bpf_map__lookup_elem(const struct bpf_map *map, const void *key, size_t key_sz, void *value,
				       size_t value_sz, uint64_t flags)
{
	(void)key_sz, (void)value_sz;
	return bpf_map_lookup_elem_flags(bpf_map__fd(map), key, value, flags);
}

static inline int bpf_map__update_elem(const struct bpf_map *map, const void *key, size_t key_sz, const void *value,
				       size_t value_sz, uint64_t flags)
{
	(void)key_sz, (void)value_sz;
	return bpf_map_update_elem(bpf_map__fd(map), key, value, flags);
}

static inline int bpf_map__delete_elem(const struct bpf_map *map, const void *key, size_t key_sz, uint64_t flags)
{
	(void)key_sz;
	return bpf_map_delete_elem_flags(bpf_map__fd(map), key, flags);
}

static inline int bpf_map__get_next_key(const struct bpf_map *map, const void *cur_key, void *next_key, size_t key_sz)
{
	(void)key_sz;
	return bpf_map_get_next_key(bpf_map__fd(map), cur_key, next_key);
}

/* ---- programs ---- */

/* Where to attach the program: a cgroup's path, an interface, path:symbol, according to its type. */
static inline void bpf_set_prog_attach_target(struct bpf_program *prog, const char *attach_target)
{
	prog->attach_target[0] = '\0';
	if (attach_target)
		strncat(prog->attach_target, attach_target, sizeof(prog->attach_target) - 1);
}

static inline const char *bpf_program__name(const struct bpf_program *prog)
{
	return prog->name;
}

/* Whether attaching the skeleton attaches this program. */
static inline void bpf_program__set_autoattach(struct bpf_program *prog, bool autoattach)
{
	prog->autoattach = autoattach;
}

/* The object is loaded whole by the host: a program that must not load is not attached either, no more. */
static inline int bpf_program__set_autoload(struct bpf_program *prog, bool autoload)
{
	prog->autoattach = autoload;
	return 0;
}

/* Attaches one program now; 0 or a negative errno. */
static inline int skep_program__attach(const struct bpf_program *prog)
{
	const char *target = prog->attach_target[0] ? prog->attach_target : NULL;
	return skep_result(wasm_attach_bpf_program(prog->obj_ptr, prog->name, target));
}

/* Attaches one program to the directory behind a WASI descriptor: a cgroup. */
static inline int skep_program__attach_fd(const struct bpf_program *prog, int wasi_fd)
{
	return skep_result(wasm_attach_bpf_program_fd(prog->obj_ptr, prog->name, wasi_fd));
}

/* ---- skeletons ---- */

/* The result of a system call's wrapper as an errno. */
static inline int libbpf_err_errno(int ret)
{
	return ret < 0 ? -errno : ret;
}

/* Gives the skeleton's pointer to a data section (.rodata, .data, .bss) the section's initial bytes. */
static inline int skep_open_section(struct bpf_object_skeleton *s, struct bpf_map_skeleton *map)
{
	const char *dot = strchr(map->name, '.');
	struct skep_elf_section section;
	if (!map->mmaped || !dot || !skep_elf_find(s->elf, s->data_sz, dot, &section))
		return 0;
	if (!section.in_file) {
		/* .bss has no bytes in the file: set them here, store them after the load. */
		*map->mmaped = calloc(1, section.size);
		return *map->mmaped ? 0 : -ENOMEM;
	}
	*map->mmaped = s->elf + section.offset;
	return 0;
}

static inline int bpf_object__open_skeleton(struct bpf_object_skeleton *s, const struct bpf_object_open_opts *opts)
{
	(void)opts;
	if (!s || !s->data || !s->data_sz)
		return -EINVAL;
	s->elf = malloc(s->data_sz);
	if (!s->elf)
		return -ENOMEM;
	memcpy(s->elf, s->data, s->data_sz);
	for (int i = 0; i < s->map_cnt; i++) {
		struct bpf_map_skeleton *skel = skep_map_at(s, i);
		struct bpf_map *map = calloc(1, sizeof(*map));
		if (!map)
			return -ENOMEM;
		strncat(map->name, skel->name, sizeof(map->name) - 1);
		map->next = skep_maps;
		skep_maps = map;
		*skel->map = map;
		int err = skep_open_section(s, skel);
		if (err)
			return err;
	}
	for (int i = 0; i < s->prog_cnt; i++) {
		struct bpf_prog_skeleton *skel = skep_prog_at(s, i);
		struct bpf_program *prog = calloc(1, sizeof(*prog));
		if (!prog)
			return -ENOMEM;
		strncat(prog->name, skel->name, sizeof(prog->name) - 1);
		prog->autoattach = true;
		*skel->prog = prog;
	}
	return 0;
}

/* Stores what was set in .bss before the load. */
static inline int skep_store_bss(struct bpf_object_skeleton *s, struct bpf_map_skeleton *map)
{
	const char *dot = strchr(map->name, '.');
	struct skep_elf_section section;
	const unsigned char *bytes = map->mmaped ? *map->mmaped : NULL;
	if (!bytes || !dot || !skep_elf_find(s->elf, s->data_sz, dot, &section) || section.in_file)
		return 0;
	for (size_t i = 0; i < section.size; i++) {
		uint32_t zero = 0;
		if (bytes[i])
			return bpf_map_update_elem(bpf_map__fd(*map->map), &zero, bytes, BPF_ANY);
	}
	return 0;
}

/* Gives the skeleton its loaded object. */
static inline int skep_object__loaded(struct bpf_object_skeleton *s, bpf_object_skel handle)
{
	SKEP_HANDLE(s) = handle;
	for (int i = 0; i < s->prog_cnt; i++)
		(*skep_prog_at(s, i)->prog)->obj_ptr = SKEP_HANDLE(s);
	for (int i = 0; i < s->map_cnt; i++)
		(*skep_map_at(s, i)->map)->obj_ptr = SKEP_HANDLE(s);
	for (int i = 0; i < s->map_cnt; i++) {
		int err = skep_store_bss(s, skep_map_at(s, i));
		if (err)
			return err;
	}
	return 0;
}

static inline int bpf_object__load_skeleton(struct bpf_object_skeleton *s)
{
	if (!s || !s->elf)
		return -EINVAL;
	bpf_object_skel handle = wasm_load_bpf_object(s->elf, (int)s->data_sz);
	return handle ? skep_object__loaded(s, handle) : -EINVAL;
}

static inline int bpf_object__attach_skeleton(struct bpf_object_skeleton *s)
{
	if (!s || !SKEP_HANDLE(s))
		return -EINVAL;
	for (int i = 0; i < s->prog_cnt; i++) {
		struct bpf_program *prog = *skep_prog_at(s, i)->prog;
		int err = prog->autoattach ? skep_program__attach(prog) : 0;
		if (err < 0)
			return err;
	}
	return 0;
}

/* Programs are detached when the object is closed. */
static inline int bpf_object__detach_skeleton(struct bpf_object_skeleton *s)
{
	(void)s;
	return 0;
}

static inline void skep_free_map(struct bpf_object_skeleton *s, struct bpf_map_skeleton *skel)
{
	struct bpf_map *map = skel->map ? *skel->map : NULL;
	for (struct bpf_map **link = &skep_maps; map && *link; link = &(*link)->next) {
		if (*link == map) {
			*link = map->next;
			break;
		}
	}
	unsigned char *bytes = skel->mmaped ? *skel->mmaped : NULL;
	bool inside = s->elf && bytes >= s->elf && bytes < s->elf + s->data_sz;
	if (bytes && !inside)
		free(bytes);
	free(map);
}

static inline void bpf_object__destroy_skeleton(struct bpf_object_skeleton *s)
{
	if (!s)
		return;
	if (SKEP_HANDLE(s))
		wasm_close_bpf_object(SKEP_HANDLE(s));
	for (int i = 0; s->maps && i < s->map_cnt; i++)
		skep_free_map(s, skep_map_at(s, i));
	for (int i = 0; s->progs && i < s->prog_cnt; i++)
		free(*skep_prog_at(s, i)->prog);
	free(s->maps);
	free(s->progs);
	free(s->elf);
	free(s);
}

#endif /* SKEP_OBJECT_H */
