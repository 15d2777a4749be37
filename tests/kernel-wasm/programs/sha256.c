/* SHA-256 of a buffer, the digest's words summed. */
#include "skep.h"

u32 K[64] DATA = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
static u8 message[4096] DATA;
static u32 state[8] DATA;
static u32 w[64] DATA;

static u32 rotr(u32 x, u32 n) { return (x >> n) | (x << (32 - n)); }

EXPORT u32 block(u32 at)
{
	for (u32 i = ZERO; i < 16 && can_loop; i++) {
		u32 p = at + i * 4;
		w[i] = (u32)message[p & 4095] << 24 | (u32)message[(p + 1) & 4095] << 16 |
		       (u32)message[(p + 2) & 4095] << 8 | message[(p + 3) & 4095];
	}
	for (u32 i = 16 + ZERO; i < 64 && can_loop; i++) {
		u32 a = w[i - 15], b = w[i - 2];
		u32 s0 = rotr(a, 7) ^ rotr(a, 18) ^ (a >> 3);
		u32 s1 = rotr(b, 17) ^ rotr(b, 19) ^ (b >> 10);
		w[i] = w[i - 16] + s0 + w[i - 7] + s1;
	}
	u32 a = state[0], b = state[1], c = state[2], d = state[3];
	u32 e = state[4], f = state[5], g = state[6], h = state[7];
	for (u32 i = ZERO; i < 64 && can_loop; i++) {
		u32 s1 = rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25);
		u32 t1 = h + s1 + ((e & f) ^ (~e & g)) + K[i] + w[i];
		u32 s0 = rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22);
		u32 t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
		h = g;
		g = f;
		f = e;
		e = d + t1;
		d = c;
		c = b;
		b = a;
		a = t1 + t2;
	}
	state[0] += a;
	state[1] += b;
	state[2] += c;
	state[3] += d;
	state[4] += e;
	state[5] += f;
	state[6] += g;
	state[7] += h;
	return 0;
}

EXPORT u32 run(u32 rounds)
{
	u32 sum = ZERO;
	for (u32 i = ZERO; i < 4096 && can_loop; i++)
		message[i] = (u8)(i * 7 + 3);
	for (u32 r = ZERO; r < rounds && can_loop; r++) {
		state[0] = 0x6a09e667;
		state[1] = 0xbb67ae85;
		state[2] = 0x3c6ef372;
		state[3] = 0xa54ff53a;
		state[4] = 0x510e527f;
		state[5] = 0x9b05688c;
		state[6] = 0x1f83d9ab;
		state[7] = 0x5be0cd19;
		for (u32 at = ZERO; at < 4096 && can_loop; at += 64)
			block(at);
		for (u32 i = ZERO; i < 8 && can_loop; i++)
			sum = sum * 31 + state[i];
	}
	return sum;
}
