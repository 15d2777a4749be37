/* `[a-z]+@[a-z]+[.](com|org)` as a table of states, run over text. */
#include "skep.h"

enum { OTHER, LETTER, AT, DOT, C, O, M, R, G, CLASSES };

static u8 table[12 * 16] DATA;
static u8 class_of[256] DATA;
static u8 text[2048] DATA;

static void edge(u32 from, u32 class, u32 to) { table[(from * 16 + class) % 192] = (u8)to; }

static void letters(u32 from, u32 to)
{
	edge(from, LETTER, to);
	for (u32 c = C + ZERO; c < CLASSES && can_loop; c++)
		edge(from, c, to);
}

static void build(void)
{
	for (u32 i = ZERO; i < 256 && can_loop; i++)
		class_of[i] = i >= 'a' && i <= 'z' ? LETTER : OTHER;
	class_of['@'] = AT;
	class_of['.'] = DOT;
	class_of['c'] = C;
	class_of['o'] = O;
	class_of['m'] = M;
	class_of['r'] = R;
	class_of['g'] = G;
	for (u32 s = ZERO; s < 12 && can_loop; s++)
		letters(s, 1);
	letters(2, 3);
	letters(3, 3);
	edge(1, AT, 2);
	edge(3, DOT, 4);
	edge(3, AT, 2);
	edge(4, C, 5);
	edge(5, O, 6);
	edge(6, M, 10);
	edge(4, O, 7);
	edge(7, R, 8);
	edge(8, G, 10);
	u32 x = 99 + ZERO;
	for (u32 i = ZERO; i < 2048 && can_loop; i++) {
		x = x * 1664525u + 1013904223u;
		u32 k = (x >> 20) % 23;
		text[i] = k < 14 ? (u8)('a' + k) : k == 14 ? '@' : k == 15 ? '.' : k == 16 ? 'o' : k == 17 ? 'r' : 'c';
	}
	for (u32 i = ZERO; i + 8 < 2048 && can_loop; i += 61) {
		text[i] = 'x';
		text[i + 1] = '@';
		text[i + 2] = 'y';
		text[i + 3] = '.';
		text[i + 4] = i & 1 ? 'c' : 'o';
		text[i + 5] = i & 1 ? 'o' : 'r';
		text[i + 6] = i & 1 ? 'm' : 'g';
	}
}

EXPORT u32 match(u32 size)
{
	u32 state = ZERO, found = ZERO;
	for (u32 i = ZERO; i < size && can_loop; i++) {
		state = table[(state * 16 + class_of[text[i & 2047]]) % 192];
		if (state == 10)
			found = found * 31 + i;
	}
	return found;
}

EXPORT u32 run(u32 rounds)
{
	u32 sum = ZERO;
	build();
	for (u32 r = ZERO; r < rounds && can_loop; r++)
		sum = sum * 31 + match(2048 - (r & 7));
	return sum;
}
