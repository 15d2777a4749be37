/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Blots out what lies below /home and /root in a path, marks what it changed, and hides the user id: redact-paths in C. */
#include <skep_plugin.h>

SKEP_PLUGIN({
	"name": "redact-paths-c",
	"version": "0.1.0",
	"description": "Blots out the private part of paths",
	"hooks": {
		"shape": {
			"wire_version": 1,
			"description": "Changes filename, adds the column redacted (1 where it did), hides uid",
			"on_failure": "closed"
		}
	},
	"budget": { "pages": 64 }
});
SKEP_ALLOC

struct opened {
	uint32_t uid;
	char filename[64];
};

static const struct skep_wanted wanted[] = {
	SKEP_FIELD(struct opened, uid),
	SKEP_FIELD(struct opened, filename),
};

/* Where the private part of a path begins; 0 where there is none. */
static uint32_t private_part(const char *path)
{
	static const char *const prefixes[] = { "/home/", "/root/" };
	for (uint32_t p = 0; p < SKEP_COUNT(prefixes); p++) {
		uint32_t at = 0;
		while (prefixes[p][at] && path[at] == prefixes[p][at])
			at++;
		if (!prefixes[p][at] && path[at])
			return at;
	}
	return 0;
}

static void redact(struct skep_shaping *batch)
{
	uint8_t *redacted = skep_add_column(batch, "redacted", SKEP_UINT8, 1);
	skep_hide(batch, "uid");
	SKEP_FOR_EACH (struct opened, opened, index, batch->request) {
		uint32_t at = private_part(opened->filename);
		if (redacted)
			redacted[index] = at != 0;
		for (; at && at < sizeof(opened->filename) && opened->filename[at]; at++)
			opened->filename[at] = '*';
	}
}

SKEP_SHAPE(struct opened, wanted, redact)
