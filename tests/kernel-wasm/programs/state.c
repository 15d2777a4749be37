/* A state machine over number literals, after the CoreMark kernel of that kind. */
#include "skep.h"

enum { START, SIGN, INT, POINT, FRACTION, EXPONENT, EXPSIGN, SCIENTIFIC, INVALID, STATES };

u8 input[] DATA = "5012,1234,-874,+122,35.54400,.1234500,-110.700,+0.64400,5.500e+3,-.123e-2,-87e+832,"
			       "+0.6e-12,T0.3e-1F,-T.T++Tq,1T3.4e4z,34.0e-T^";
static u32 counts[STATES] DATA;

static u32 digit(u32 c) { return c - '0' <= 9; }

EXPORT u32 step(u32 state, u32 c)
{
	switch (state) {
	case START:
		return digit(c) ? INT : c == '+' || c == '-' ? SIGN : c == '.' ? POINT : INVALID;
	case SIGN:
		return digit(c) ? INT : c == '.' ? POINT : INVALID;
	case INT:
		return digit(c) ? INT : c == '.' ? FRACTION : INVALID;
	case POINT:
	case FRACTION:
		return digit(c) ? FRACTION : c == 'e' || c == 'E' ? EXPONENT : INVALID;
	case EXPONENT:
		return c == '+' || c == '-' ? EXPSIGN : INVALID;
	case EXPSIGN:
	case SCIENTIFIC:
		return digit(c) ? SCIENTIFIC : INVALID;
	default:
		return INVALID;
	}
}

EXPORT u32 scan(u32 size)
{
	u32 state = ZERO, transitions = ZERO;
	for (u32 i = ZERO; i < size && can_loop; i++) {
		u32 c = input[i & 127];
		if (c == ',') {
			counts[state % STATES]++;
			state = ZERO;
			continue;
		}
		u32 next = step(state, c);
		transitions += next != state;
		state = next;
	}
	return transitions;
}

EXPORT u32 run(u32 rounds)
{
	u32 sum = ZERO;
	for (u32 s = ZERO; s < STATES && can_loop; s++)
		counts[s] = 0;
	for (u32 r = ZERO; r < rounds && can_loop; r++)
		for (u32 k = ZERO; k < 16 && can_loop; k++)
			sum = sum * 31 + scan(sizeof(input) - 1 - (k & 7));
	for (u32 s = ZERO; s < STATES && can_loop; s++)
		sum = sum * 31 + counts[s];
	return sum;
}
