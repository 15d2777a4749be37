/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The histogram that the program counts in and the guest prints. */
#ifndef RUNQLAT_H
#define RUNQLAT_H

#define SLOTS 27 /* slot n counts [2^n, 2^(n+1)); slot 0 holds 0 too; the last holds everything longer */

#endif
