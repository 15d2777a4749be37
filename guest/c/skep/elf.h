/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Finds a data section in an eBPF object: 64-bit ELF in the byte order of WebAssembly. */
#ifndef SKEP_ELF_H
#define SKEP_ELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct skep_elf_section {
	size_t offset;
	size_t size;
	bool in_file; /* false for .bss, which has a size only */
};

static inline uint64_t skep_elf_number(const unsigned char *at, int bytes)
{
	uint64_t number = 0;
	memcpy(&number, at, bytes);
	return number;
}

/* Finds the section whose name is, or starts with, `name` (the kernel cuts map names at 15 characters, so a map's name
 * may hold the start of its section's only). Offsets are those of the ELF-64 file and section headers. */
static inline bool skep_elf_find(const unsigned char *elf, size_t len, const char *name, struct skep_elf_section *found)
{
	enum { HEADER = 64, SECTION = 64, NOBITS = 8 };
	if (len < HEADER || memcmp(elf, "\177ELF\2\1", 6) != 0)
		return false;
	uint64_t table = skep_elf_number(elf + 40, 8);
	uint64_t count = skep_elf_number(elf + 60, 2), names = skep_elf_number(elf + 62, 2);
	if (table > len || count * SECTION > len - table || names >= count)
		return false;
	const unsigned char *strings = elf + table + names * SECTION;
	uint64_t strings_at = skep_elf_number(strings + 24, 8), strings_len = skep_elf_number(strings + 32, 8);
	if (strings_at > len || strings_len > len - strings_at || !strings_len || elf[strings_at + strings_len - 1])
		return false;
	bool exact = false, any = false;
	for (uint64_t i = 0; i < count && !exact; i++) {
		const unsigned char *section = elf + table + i * SECTION;
		uint64_t name_at = skep_elf_number(section, 4), type = skep_elf_number(section + 4, 4);
		uint64_t offset = skep_elf_number(section + 24, 8), size = skep_elf_number(section + 32, 8);
		if (name_at >= strings_len || (type != NOBITS && (offset > len || size > len - offset)))
			continue;
		const char *is = (const char *)elf + strings_at + name_at;
		exact = strcmp(is, name) == 0;
		if (!exact && (any || strncmp(is, name, strlen(name)) != 0))
			continue;
		*found = (struct skep_elf_section){ offset, size, type != NOBITS };
		any = true;
	}
	return any;
}

#endif /* SKEP_ELF_H */
