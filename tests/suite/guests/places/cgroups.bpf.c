// SPDX-License-Identifier: GPL-2.0
/* Programs of a cgroup. All let everything pass. */
#include "seen.bpf.h"

#define ADDRESS(name, section, field)                        \
	SEC("cgroup/" section)                               \
	int name(struct bpf_sock_addr *ctx)                  \
	{                                                    \
		saw(bpf_ntohs(ctx->field));                  \
		return 1;                                    \
	}

ADDRESS(bind4, "bind4", user_port)
ADDRESS(connect4, "connect4", user_port)
ADDRESS(connect6, "connect6", user_port)
ADDRESS(getpeername4, "getpeername4", user_port)
ADDRESS(getsockname4, "getsockname4", user_port)
ADDRESS(sendmsg4, "sendmsg4", user_port)
ADDRESS(recvmsg4, "recvmsg4", user_port)

SEC("cgroup/sock_create")
int sock_create(struct bpf_sock *sk)
{
	saw(sk->type);
	return 1;
}

SEC("cgroup/sock_release")
int sock_release(struct bpf_sock *sk)
{
	saw(sk->type);
	return 1;
}

SEC("cgroup/post_bind4")
int post_bind4(struct bpf_sock *sk)
{
	saw(sk->src_port);
	return 1;
}

SEC("cgroup/dev")
int device(struct bpf_cgroup_dev_ctx *ctx)
{
	saw((u64)ctx->major << 32 | ctx->minor);
	return 1;
}

SEC("cgroup/sysctl")
int sysctl(struct bpf_sysctl *ctx)
{
	saw(ctx->write);
	return 1;
}

SEC("cgroup/getsockopt")
int getsockopt(struct bpf_sockopt *ctx)
{
	saw(ctx->optname);
	if (ctx->optlen > 4096)
		ctx->optlen = 0; /* too long to be shown: the kernel's own value goes through */
	return 1;
}

SEC("cgroup/setsockopt")
int setsockopt(struct bpf_sockopt *ctx)
{
	saw(ctx->optname);
	if (ctx->optlen > 4096)
		ctx->optlen = 0;
	return 1;
}
