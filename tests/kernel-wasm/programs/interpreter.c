/* A bytecode interpreter: a stack machine that counts primes. */
#include "skep.h"

enum { PUSH, LOAD, STORE, ADD, MUL, MOD, LT, JZ, JMP, HALT };

u32 code[] DATA = {
	/* n = 2; count = 0 */
	PUSH, 2, STORE, 0, PUSH, 0, STORE, 1,
	/* 8: if !(n < limit) halt */
	LOAD, 0, LOAD, 3, LT, 0, JZ, 58,
	/* 16: d = 2 */
	PUSH, 2, STORE, 2,
	/* 20: if !(d*d < n+1) prime */
	LOAD, 2, LOAD, 2, MUL, 0, LOAD, 0, PUSH, 1, ADD, 0, LT, 0, JZ, 50,
	/* 36: if n % d == 0 composite (54 skips the count) */
	LOAD, 0, LOAD, 2, MOD, 0, JZ, 60,
	/* 44: d++ */
	LOAD, 2, JMP, 68, HALT, 0,
	/* 50: count++ */
	LOAD, 1, PUSH, 1, JMP, 76, HALT, 0,
	/* 58 */ HALT, 0,
	/* 60: n++ */
	LOAD, 0, PUSH, 1, ADD, 0, JMP, 82,
	/* 68 */ PUSH, 1, ADD, 0, STORE, 2, JMP, 20,
	/* 76 */ ADD, 0, STORE, 1, JMP, 60,
	/* 82 */ STORE, 0, JMP, 8};
static u32 stack[64] DATA;
static u32 vars[8] DATA;

EXPORT u32 interpret(u32 limit)
{
	u32 pc = ZERO, sp = ZERO, steps = ZERO;
	vars[3] = limit;
	while (can_loop) {
		u32 op = code[pc & 127], arg = code[(pc + 1) & 127];
		u32 x = stack[(sp - 1) & 63], y = stack[(sp - 2) & 63];
		pc += 2;
		steps++;
		switch (op) {
		case PUSH: stack[sp++ & 63] = arg; break;
		case LOAD: stack[sp++ & 63] = vars[arg & 7]; break;
		case STORE: vars[arg & 7] = x; sp--; break;
		case ADD: stack[(sp - 2) & 63] = y + x; sp--; break;
		case MUL: stack[(sp - 2) & 63] = y * x; sp--; break;
		case MOD: stack[(sp - 2) & 63] = x ? y % x : 0; sp--; break;
		case LT: stack[(sp - 2) & 63] = y < x; sp--; break;
		case JZ: sp--; if (!x) pc = arg; break;
		case JMP: pc = arg; break;
		default: return vars[1] * 100003u + steps;
		}
	}
	return 0;
}

EXPORT u32 run(u32 rounds)
{
	u32 sum = ZERO;
	for (u32 r = ZERO; r < rounds && can_loop; r++)
		sum = sum * 31 + interpret(200 + r);
	return sum;
}
