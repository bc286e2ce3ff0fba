#include "dataplane/slow_path/neighbour_watch.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <linux/rtnetlink.h>

namespace flowtap::dataplane::slow_path {
namespace {

constexpr unsigned most_reads = 16;

}  // namespace

Result<NeighbourWatch> NeighbourWatch::open(unsigned interface) {
    auto socket = NetlinkSocket::open(RTMGRP_NEIGH);
    if (!socket) {
        return std::unexpected(
            Failure{ExitCode::failure, fmt::format("neighbours by netlink: {}", std::strerror(errno))});
    }
    return NeighbourWatch{std::move(*socket), interface};
}

void NeighbourWatch::ask(const Listener& listener) {
    ndmsg* body = nullptr;
    auto message = NetlinkMessage::make(RTM_GETNEIGH, NLM_F_DUMP, body);
    asked_ = asking_ = socket_.send(message);
    if (asked_) {
        listener.begin();
    }
}

void NeighbourWatch::read(const Listener& listener) {
    if (!asked_) {
        ask(listener);
    }
    for (unsigned i = 0; i < most_reads; ++i) {
        const auto received = socket_.receive(buffer_);
        if (!received) {
            asked_ = false;  // events were lost: from the beginning, with the next call
            return;
        }
        if (received->empty()) {
            return;
        }
        int left = static_cast<int>(received->size());
        const auto* message = static_cast<const nlmsghdr*>(static_cast<const void*>(received->data()));
        for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
            if (message->nlmsg_type == NLMSG_DONE && asking_) {
                asking_ = false;
                listener.end();
            } else if (message->nlmsg_type == NLMSG_ERROR) {
                asked_ = false;
            } else if (const auto neighbour = parse_neighbour(*message);
                       neighbour && neighbour->interface == interface_) {
                listener.learn(*neighbour);
            }
        }
    }
}

}  // namespace flowtap::dataplane::slow_path
