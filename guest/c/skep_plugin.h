/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The C SDK of world `hooks`: a plugin that filters, shapes or observes batches of records.
 *
 *     #include <skep_plugin.h>
 *
 *     SKEP_PLUGIN({"name": "slow", "version": "1", "hooks": {"filter": {"wire_version": 1}}});
 *     SKEP_ALLOC
 *
 *     struct event { uint32_t type; uint64_t duration_ns; };
 *     static const struct skep_wanted wanted[] = {
 *         SKEP_FIELD(struct event, type), SKEP_FIELD(struct event, duration_ns) };
 *
 *     static inline bool slow(const struct event *e) { return e->duration_ns > 1000000; }
 *     SKEP_FILTER(struct event, wanted, slow)
 *
 * Build with
 *
 *     clang --target=wasm32 -O3 -nostdlib -ffreestanding -mbulk-memory -I guest/c \
 *         -Wl,--no-entry -Wl,--strip-debug plugin.c -o plugin.wasm
 *
 * SKEP_FILTER(type, wanted, bool keep(const type *)), SKEP_SHAPE(type, wanted, void shape(struct skep_shaping *)) and
 * SKEP_OBSERVE(type, wanted, void fold(const type *), void show(struct skep_report *)): each at most once in a module.
 * The macros write the exports, the description's section and the fingerprints. The structures and the fingerprints
 * are those of skep_abi::hooks::wire, version 1; a test compares them.
 */
#ifndef SKEP_PLUGIN_H
#define SKEP_PLUGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Consecutive values somewhere in linear memory. */
struct skep_list {
	uint32_t at;
	uint32_t len;
};

/* How a field's bytes are read. */
enum skep_kind {
	SKEP_BOOL = 1, SKEP_INT8, SKEP_INT16, SKEP_INT32, SKEP_INT64, SKEP_UINT8, SKEP_UINT16, SKEP_UINT32, SKEP_UINT64,
	SKEP_FLOAT32, SKEP_FLOAT64, SKEP_STRING, SKEP_CSTRING, SKEP_BYTES,
};

/* One field of a record, as the host describes it. */
struct skep_field {
	struct skep_list name; /* bytes */
	uint32_t kind;
	uint32_t offset;
	uint32_t size;
};

/* A column: one value of `width` bytes for each record. */
struct skep_column {
	struct skep_list name; /* bytes */
	uint32_t kind;
	uint32_t width;
	struct skep_list values; /* bytes */
};

enum { SKEP_REPORT = 1 };

/* A batch, for every hook. */
struct skep_request {
	uint64_t schema; /* changes when `fields` do */
	struct skep_list records; /* bytes */
	uint32_t count;
	uint32_t stride;
	uint32_t flags; /* SKEP_REPORT or 0 */
	uint32_t reserved;
	struct skep_list selected; /* uint64_t: record i is bit i % 64 of word i / 64 */
	struct skep_list fields; /* struct skep_field */
	struct skep_list columns; /* struct skep_column */
	struct skep_list output; /* uint64_t: room for the answer's lists */
};

enum skep_status { SKEP_DONE = 0, SKEP_FAILED = 1 };

struct skep_filter_response {
	uint32_t status;
	struct skep_list error; /* bytes */
	struct skep_list keep; /* uint64_t */
};

struct skep_shape_response {
	uint32_t status;
	struct skep_list error; /* bytes */
	struct skep_list columns; /* struct skep_column */
	struct skep_list hidden; /* struct skep_list of bytes */
};

enum skep_metric_kind { SKEP_COUNTER = 0, SKEP_GAUGE = 1, SKEP_HISTOGRAM = 2 };

struct skep_metric {
	struct skep_list name; /* bytes */
	struct skep_list labels; /* bytes: key=value, apart by commas */
	uint32_t kind;
	uint32_t reserved;
	int64_t value;
	struct skep_list bounds; /* uint64_t */
	struct skep_list counts; /* uint64_t, one more than bounds */
};

struct skep_observe_response {
	uint32_t status;
	struct skep_list error; /* bytes */
	struct skep_list metrics; /* struct skep_metric */
	struct skep_list text; /* bytes */
};

_Static_assert(sizeof(struct skep_field) == 20, "skep_field");
_Static_assert(sizeof(struct skep_column) == 24, "skep_column");
_Static_assert(sizeof(struct skep_request) == 64, "skep_request");
_Static_assert(sizeof(struct skep_filter_response) == 20, "skep_filter_response");
_Static_assert(sizeof(struct skep_shape_response) == 28, "skep_shape_response");
_Static_assert(sizeof(struct skep_metric) == 48, "skep_metric");
_Static_assert(sizeof(struct skep_observe_response) == 28, "skep_observe_response");

/* The fingerprints of wire version 1, as assembler bytes. */
#define SKEP_SCHEMA_FILTER_V1 "\\006\\357\\321\\064\\033\\142\\217\\333\\377\\354\\030\\152\\231\\160\\356\\347\\306\\257\\330\\275\\073\\127\\033\\344\\263\\101\\015\\277\\273\\155\\277\\175"
#define SKEP_SCHEMA_SHAPE_V1 "\\152\\214\\023\\374\\200\\104\\337\\116\\044\\254\\022\\013\\105\\355\\120\\072\\347\\016\\155\\304\\354\\324\\102\\006\\001\\060\\227\\375\\063\\024\\106\\306"
#define SKEP_SCHEMA_OBSERVE_V1 "\\225\\271\\073\\107\\375\\343\\120\\371\\074\\127\\252\\174\\061\\137\\137\\163\\244\\321\\040\\062\\346\\125\\251\\173\\056\\301\\272\\047\\155\\014\\116\\370"

/* A custom section: clang places none from C, its assembler does. `content` is an assembler string. */
#define SKEP_SECTION(name, content) \
	__asm__(".section .custom_section." name ",\"\",@\n.ascii \"" content "\"\n.text\n")

/* The description, a JSON object as it stands: no quotes around it, and none in it need a backslash. Made a string twice,
 * once for C and once for the assembler. */
#define SKEP_PLUGIN(...) SKEP_QUOTED_SECTION("skep.plugin.v1", #__VA_ARGS__)
#define SKEP_QUOTED_SECTION(name, text) SKEP_ASSEMBLED_SECTION(name, #text)
#define SKEP_ASSEMBLED_SECTION(name, quoted) \
	__asm__(".section .custom_section." name ",\"\",@\n.ascii " quoted "\n.text\n")

#define SKEP_EXPORT(name) __attribute__((export_name(name), used))

/* Memory for the host: taken from linear memory's end, one block an instance. */
#define SKEP_ALLOC \
	SKEP_EXPORT("skep_alloc") uint32_t skep_alloc(uint32_t size, uint32_t align) \
	{ \
		if (align == 0 || align > 65536 || size > UINT32_MAX - 65536) \
			return 0; \
		size_t before = __builtin_wasm_memory_grow(0, (size + 65535) / 65536); \
		return before == SIZE_MAX ? 0 : (uint32_t)(before * 65536); \
	} \
	SKEP_EXPORT("skep_free") void skep_free(uint32_t at, uint32_t size, uint32_t align) \
	{ \
		(void)at, (void)size, (void)align; \
	}

/* A field that a plugin reads in place. */
struct skep_wanted {
	const char *name;
	uint32_t name_len;
	uint32_t offset;
	uint32_t size;
};

#define SKEP_FIELD(type, member) \
	{ #member, sizeof(#member) - 1, offsetof(type, member), sizeof(((type *)0)->member) }

static inline void *skep_at(struct skep_list list)
{
	return (void *)(uintptr_t)list.at;
}

static inline int64_t skep_answer(const void *response, uint32_t len)
{
	return (int64_t)((uint64_t)(uintptr_t)response << 32 | len);
}

/* Adds a text to one of `len` bytes that has room for `room`, as much as fits; the length then. */
static inline uint32_t skep_append(char *text, uint32_t len, uint32_t room, const char *more)
{
	while (*more && len < room)
		text[len++] = *more++;
	return len;
}

/* A number's digits, in `digits`. */
static inline char *skep_digits(uint64_t value, char digits[24])
{
	char *at = digits + 23;
	*at = 0;
	do {
		*--at = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	return at;
}

/* Why a batch was not handled: `text` with every % as the next of `numbers`, and a name after it. */
static __attribute__((noinline, unused)) struct skep_list skep_why(const char *text, const uint32_t *numbers,
								    const char *name)
{
	static char why[128];
	char digits[24];
	uint32_t len = 0;
	for (; *text; text++) {
		const char one[2] = { *text, 0 };
		len = skep_append(why, len, sizeof(why), *text == '%' ? skep_digits(*numbers++, digits) : one);
	}
	len = skep_append(why, len, sizeof(why), name);
	return (struct skep_list){ (uint32_t)(uintptr_t)why, len };
}

/* NULL where every wanted field lies where the plugin expects it; else the first that does not. */
static inline const struct skep_wanted *skep_misplaced(const struct skep_request *request,
						       const struct skep_wanted *wanted, uint32_t count)
{
	const struct skep_field *fields = skep_at(request->fields);
	for (uint32_t w = 0; w < count; w++) {
		bool found = false;
		for (uint32_t f = 0; f < request->fields.len && !found; f++) {
			const char *name = skep_at(fields[f].name);
			found = fields[f].name.len == wanted[w].name_len && fields[f].offset == wanted[w].offset &&
				fields[f].size == wanted[w].size;
			for (uint32_t i = 0; found && i < wanted[w].name_len; i++)
				found = name[i] == wanted[w].name[i];
		}
		if (!found)
			return &wanted[w];
	}
	return 0;
}

/* The request behind a hook's arguments; NULL, with the reason in `error`, where it is another version's, a wanted field does
 * not lie where the plugin expects it, or a record is smaller than the `size` of the plugin's type. */
static inline const struct skep_request *skep_open(uint32_t at, uint32_t len, const struct skep_wanted *wanted,
						   uint32_t count, uint32_t size, struct skep_list *error)
{
	const struct skep_request *request = (const void *)(uintptr_t)at;
	const struct skep_wanted *bad;
	if (len != sizeof(*request))
		*error = skep_why("a request of % bytes, of another version than the plugin's %",
				  (uint32_t[]){ len, sizeof(*request) }, "");
	else if ((bad = skep_misplaced(request, wanted, count)))
		*error = skep_why("no field of % bytes at offset %: ", (uint32_t[]){ bad->size, bad->offset }, bad->name);
	else if (request->stride < size)
		*error = skep_why("records of % bytes, the plugin's have %", (uint32_t[]){ request->stride, size }, "");
	else
		return request;
	return 0;
}

#define SKEP_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The loop of SKEP_FILTER over records of `stride` bytes, which the compiler makes the most of where it knows it. */
#define SKEP_FILTER_LOOP(type, predicate, stride) \
	{ \
		const char *records = skep_at(request->records); \
		uint64_t *words = skep_at(request->output); \
		uint32_t count = request->count, whole = count / 64, apart = (stride); \
		for (uint32_t w = 0; w < whole; w++, records += 64 * apart) { \
			uint64_t bits = 0; \
			for (uint32_t b = 0; b < 64; b += 8) { \
				uint32_t kept = 0; \
				_Pragma("clang loop unroll(full)") for (uint32_t i = 0; i < 8; i++) \
					kept |= (uint32_t)(bool)predicate((const type *)(records + (b + i) * apart)) << i; \
				bits |= (uint64_t)kept << b; \
			} \
			words[w] = bits; \
		} \
		if (count % 64) { \
			uint64_t bits = 0; \
			for (uint32_t i = 0; i < count % 64; i++) \
				bits |= (uint64_t)(bool)predicate((const type *)(records + i * apart)) << i; \
			words[whole] = bits; \
		} \
	}

/* Exports the hook `filter`: `predicate(const type *)` says which records stay. The loop is unrolled and has no branch of
 * its own; `predicate` is inlined into it. Records may be longer than the type: what a host adds comes after it. */
#define SKEP_FILTER(type, fields_wanted, predicate) \
	SKEP_SECTION("skep.schema.filter.v1", SKEP_SCHEMA_FILTER_V1); \
	SKEP_EXPORT("skep_filter") int64_t skep_filter(uint32_t at, uint32_t len) \
	{ \
		static struct skep_filter_response response; \
		response = (struct skep_filter_response){ .status = SKEP_FAILED }; \
		const struct skep_request *request = \
			skep_open(at, len, fields_wanted, SKEP_COUNT(fields_wanted), sizeof(type), &response.error); \
		if (request && request->output.len < request->selected.len) { \
			response.error = skep_why("no room for the bitmap", 0, ""); \
			request = 0; \
		} \
		if (!request) \
			return skep_answer(&response, sizeof(response)); \
		if (request->stride == sizeof(type)) \
			SKEP_FILTER_LOOP(type, predicate, sizeof(type)) \
		else \
			SKEP_FILTER_LOOP(type, predicate, request->stride) \
		response.status = SKEP_DONE; \
		response.keep = (struct skep_list){ request->output.at, request->selected.len }; \
		return skep_answer(&response, sizeof(response)); \
	}

/* Whether record `index` is selected. */
static inline bool skep_selected(const struct skep_request *request, uint32_t index)
{
	const uint64_t *words = skep_at(request->selected);
	return words[index / 64] >> (index % 64) & 1;
}

static inline void *skep_record(const struct skep_request *request, uint32_t index)
{
	return (char *)skep_at(request->records) + (size_t)index * request->stride;
}

/* Runs what follows for each selected record of the request, `record` a `type *` to it and `index` its number. */
#define SKEP_FOR_EACH(type, record, index, request) \
	for (uint32_t index = 0; index < (request)->count; index++) \
		if (!skep_selected(request, index)) { \
		} else \
			for (type *record = skep_record(request, index); record; record = 0)

/* A text's bytes, without the NUL. */
static inline struct skep_list skep_text_of(const char *text)
{
	uint32_t len = 0;
	while (text[len])
		len++;
	return (struct skep_list){ (uint32_t)(uintptr_t)text, len };
}

/* Memory that stands until the next response. */
struct skep_arena {
	uint32_t start;
	uint32_t size;
	uint32_t used;
};

/* Bytes that are all zero, at a multiple of 8; NULL where memory is at its limit. */
static inline void *skep_take(struct skep_arena *arena, uint32_t bytes)
{
	if (bytes > UINT32_MAX / 4)
		return 0;
	bytes = (bytes + 7) & ~7u;
	if (arena->used + bytes > arena->size) {
		/* What was given out from the old block stays valid: it is never given back. */
		uint32_t size = 2 * arena->size > bytes ? 2 * arena->size : bytes;
		size_t before = __builtin_wasm_memory_grow(0, (size + 65535) / 65536);
		if (before == SIZE_MAX)
			return 0;
		*arena = (struct skep_arena){ (uint32_t)before * 65536, (size + 65535) & ~65535u, 0 };
	}
	void *taken = (void *)(uintptr_t)(arena->start + arena->used);
	arena->used += bytes;
	return __builtin_memset(taken, 0, bytes);
}

enum { SKEP_MAX_COLUMNS = 16, SKEP_MAX_METRICS = 64, SKEP_MAX_TEXT = 16384 };

/* A batch that is being shaped. */
struct skep_shaping {
	const struct skep_request *request;
	struct skep_shape_response response;
	struct skep_column columns[SKEP_MAX_COLUMNS];
	struct skep_list hidden[SKEP_MAX_COLUMNS];
	struct skep_arena arena;
};

/* Adds a column: a value of `width` bytes for each record, selected or not, all zero at first. NULL when there are too
 * many, or memory is at its limit. `name` has to stand after the call, as a literal does. */
static inline void *skep_add_column(struct skep_shaping *batch, const char *name, enum skep_kind kind, uint32_t width)
{
	uint32_t used = batch->response.columns.len, count = batch->request->count;
	if (used == SKEP_MAX_COLUMNS || (width && count > UINT32_MAX / 4 / width))
		return 0;
	void *values = skep_take(&batch->arena, count * width);
	if (!values)
		return 0;
	batch->columns[used] = (struct skep_column){ skep_text_of(name), kind, width,
						     { (uint32_t)(uintptr_t)values, count * width } };
	batch->response.columns.len++;
	return values;
}

/* Hides a field or column from outputs; false when too many are hidden. */
static inline bool skep_hide(struct skep_shaping *batch, const char *name)
{
	if (batch->response.hidden.len == SKEP_MAX_COLUMNS)
		return false;
	batch->hidden[batch->response.hidden.len++] = skep_text_of(name);
	return true;
}

/* Exports the hook `shape`: `shape(struct skep_shaping *)` changes the selected records where they lie (SKEP_FOR_EACH over
 * its `request`), adds columns and hides fields. */
#define SKEP_SHAPE(type, fields_wanted, shape) \
	SKEP_SECTION("skep.schema.shape.v1", SKEP_SCHEMA_SHAPE_V1); \
	SKEP_EXPORT("skep_shape") int64_t skep_shape(uint32_t at, uint32_t len) \
	{ \
		static struct skep_shaping batch; \
		batch.response = (struct skep_shape_response){ .status = SKEP_FAILED }; \
		batch.arena.used = 0; \
		batch.request = skep_open(at, len, fields_wanted, SKEP_COUNT(fields_wanted), sizeof(type), \
					  &batch.response.error); \
		if (batch.request) { \
			shape(&batch); \
			batch.response.status = SKEP_DONE; \
			batch.response.columns.at = (uint32_t)(uintptr_t)batch.columns; \
			batch.response.hidden.at = (uint32_t)(uintptr_t)batch.hidden; \
		} \
		return skep_answer(&batch.response, sizeof(batch.response)); \
	}

/* What an observer has to show. The functions return false, or write less, when there is no more room. */
struct skep_report {
	struct skep_observe_response response;
	struct skep_metric metrics[SKEP_MAX_METRICS];
	char text[SKEP_MAX_TEXT];
	struct skep_arena arena;
};

static inline bool skep_metric(struct skep_report *report, struct skep_metric metric)
{
	if (report->response.metrics.len == SKEP_MAX_METRICS)
		return false;
	report->metrics[report->response.metrics.len++] = metric;
	return true;
}

/* A sum that only grows. `labels` are key=value, apart by commas. */
static inline bool skep_counter(struct skep_report *report, const char *name, const char *labels, uint64_t value)
{
	return skep_metric(report, (struct skep_metric){ .name = skep_text_of(name), .labels = skep_text_of(labels),
							 .kind = SKEP_COUNTER, .value = (int64_t)value });
}

/* A value that comes and goes. */
static inline bool skep_gauge(struct skep_report *report, const char *name, const char *labels, int64_t value)
{
	return skep_metric(report, (struct skep_metric){ .name = skep_text_of(name), .labels = skep_text_of(labels),
							 .kind = SKEP_GAUGE, .value = value });
}

/* Counts by upper bound: `counts` has one more than `bounds`, for what lies above the last. */
static inline bool skep_histogram(struct skep_report *report, const char *name, uint64_t sum, const uint64_t *bounds,
				  uint32_t len, const uint64_t *counts)
{
	uint64_t *copy = len < UINT32_MAX / 64 ? skep_take(&report->arena, (2 * len + 1) * 8) : 0;
	if (!copy)
		return false;
	__builtin_memcpy(copy, bounds, len * 8);
	__builtin_memcpy(copy + len, counts, (len + 1) * 8);
	return skep_metric(report, (struct skep_metric){ .name = skep_text_of(name), .kind = SKEP_HISTOGRAM,
							 .value = (int64_t)sum,
							 .bounds = { (uint32_t)(uintptr_t)copy, len },
							 .counts = { (uint32_t)(uintptr_t)(copy + len), len + 1 } });
}

/* Adds to the text. */
static inline void skep_print(struct skep_report *report, const char *text)
{
	report->response.text.len = skep_append(report->text, report->response.text.len, SKEP_MAX_TEXT, text);
}

/* Adds a number in at least `width` places. */
static inline void skep_print_number(struct skep_report *report, uint64_t value, uint32_t width)
{
	char digits[24], *at = skep_digits(value, digits);
	for (uint32_t places = (uint32_t)(digits + 23 - at); places < width; places++)
		skep_print(report, " ");
	skep_print(report, at);
}

/* Exports the hook `observe`: `fold(const type *)` takes each selected record; `show(struct skep_report *)` says what there
 * is to show, when the host asks. */
#define SKEP_OBSERVE(type, fields_wanted, fold, show) \
	SKEP_SECTION("skep.schema.observe.v1", SKEP_SCHEMA_OBSERVE_V1); \
	SKEP_EXPORT("skep_observe") int64_t skep_observe(uint32_t at, uint32_t len) \
	{ \
		static struct skep_report report; \
		report.response = (struct skep_observe_response){ .status = SKEP_FAILED }; \
		report.arena.used = 0; \
		const struct skep_request *request = skep_open(at, len, fields_wanted, SKEP_COUNT(fields_wanted), \
							       sizeof(type), &report.response.error); \
		if (request) { \
			SKEP_FOR_EACH (const type, record, index, request) \
				fold(record); \
			if (request->flags & SKEP_REPORT) \
				show(&report); \
			report.response.status = SKEP_DONE; \
			report.response.metrics.at = (uint32_t)(uintptr_t)report.metrics; \
			report.response.text.at = (uint32_t)(uintptr_t)report.text; \
		} \
		return skep_answer(&report.response, sizeof(report.response)); \
	}

#endif /* SKEP_PLUGIN_H */
