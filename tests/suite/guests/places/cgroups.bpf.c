// SPDX-License-Identifier: GPL-2.0
/* Programs of a cgroup. All let everything pass. */
#include "seen.bpf.h"

#define ADDRESS(name, section, detail)                       \
	SEC("cgroup/" section)                               \
	int name(struct bpf_sock_addr *ctx)                  \
	{                                                    \
		saw(detail);                                 \
		return 1;                                    \
	}

ADDRESS(bind4, "bind4", bpf_ntohs(ctx->user_port))
ADDRESS(bind6, "bind6", bpf_ntohs(ctx->user_port))
ADDRESS(connect4, "connect4", bpf_ntohs(ctx->user_port))
ADDRESS(connect6, "connect6", bpf_ntohs(ctx->user_port))
ADDRESS(connect_unix, "connect_unix", ctx->user_family)
ADDRESS(getpeername4, "getpeername4", bpf_ntohs(ctx->user_port))
ADDRESS(getpeername6, "getpeername6", bpf_ntohs(ctx->user_port))
ADDRESS(getpeername_unix, "getpeername_unix", ctx->user_family)
ADDRESS(getsockname4, "getsockname4", bpf_ntohs(ctx->user_port))
ADDRESS(getsockname6, "getsockname6", bpf_ntohs(ctx->user_port))
ADDRESS(getsockname_unix, "getsockname_unix", ctx->user_family)
ADDRESS(sendmsg4, "sendmsg4", bpf_ntohs(ctx->user_port))
ADDRESS(sendmsg6, "sendmsg6", bpf_ntohs(ctx->user_port))
ADDRESS(sendmsg_unix, "sendmsg_unix", ctx->user_family)
ADDRESS(recvmsg4, "recvmsg4", bpf_ntohs(ctx->user_port))
ADDRESS(recvmsg6, "recvmsg6", bpf_ntohs(ctx->user_port))
ADDRESS(recvmsg_unix, "recvmsg_unix", ctx->user_family)

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

SEC("cgroup/post_bind6")
int post_bind6(struct bpf_sock *sk)
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
