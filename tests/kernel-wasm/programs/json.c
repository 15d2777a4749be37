/* A JSON field scanner: finds "pid" at the top level of objects in a stream, and sums its numbers. */
#include "skep.h"

u8 sample[] DATA =
	"{\"comm\":\"bash\",\"args\":[\"-c\",\"echo \\\"pid\\\": 7\"],\"pid\":1234,\"t\":{\"pid\":9}}"
	"{\"ts\":18446744073,\"ok\":true,\"pid\":77,\"comm\":\"cat\",\"nested\":{\"a\":[1,2,{\"b\":null}]}}"
	"{\"pid\":4000000,\"path\":\"/usr/bin/\\u0041\",\"ret\":-2}";

EXPORT u32 scan(u32 size)
{
	u32 at = ZERO, depth = ZERO, sum = ZERO, matched = ZERO, in_string = ZERO, start = ZERO;
	while (at < size && can_loop) {
		u8 c = sample[at & 255];
		if (in_string) {
			if (c == '\\') {
				at += 2;
				continue;
			}
			if (c == '"') {
				in_string = ZERO;
				matched = depth == 1 && at - start == 3 && sample[start & 255] == 'p' &&
					  sample[(start + 1) & 255] == 'i' && sample[(start + 2) & 255] == 'd';
			}
			at++;
			continue;
		}
		if (c == '"') {
			in_string = 1 + ZERO;
			start = at + 1;
		} else if (c == '{' || c == '[') {
			depth++;
		} else if (c == '}' || c == ']') {
			depth--;
		} else if (c == ':' && matched) {
			u32 value = ZERO;
			for (at++; at < size && can_loop; at++) {
				u32 digit = (u32)sample[at & 255] - '0';
				if (digit > 9)
					break;
				value = value * 10 + digit;
			}
			sum = sum * 31 + value;
			matched = ZERO;
			continue;
		}
		at++;
	}
	return sum;
}

EXPORT u32 run(u32 rounds)
{
	u32 sum = ZERO;
	for (u32 r = ZERO; r < rounds && can_loop; r++)
		for (u32 i = ZERO; i < 16 && can_loop; i++) {
			/* What is written is not what is scanned; it keeps the compiler from scanning once. */
			sample[sizeof(sample) - 1] = (u8)i;
			sum = sum * 31 + scan(sizeof(sample) - 1 - (i & 3));
		}
	return sum;
}
