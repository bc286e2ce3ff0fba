#include "tools/bench/link_session.h"

#include <array>
#include <poll.h>
#include <stdexcept>
#include <thread>
#include <utility>
#include <variant>

namespace flowtap::tools {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds beat{50};

template <typename Value, typename Error>
Value value_or_throw(std::expected<Value, Error> result) {
    if (result) {
        return std::move(*result);
    }
    if constexpr (std::is_same_v<Error, lib::LinkError>) {
        throw std::runtime_error(result.error().message);
    } else {
        throw std::runtime_error(result.error());
    }
}

lib::LinkClient connect(const lib::Config& config, lib::CommandRegion& region, Clock::time_point deadline) {
    const lib::RegionShape shape{config.dataplane.max_taps,
                                 static_cast<std::uint32_t>(config.dataplane.workers.size())};
    for (;;) {
        auto client =
            lib::LinkClient::connect(config.control.run_dir / "dataplane.sock", region, shape, config.digest);
        if (client || Clock::now() > deadline) {
            return value_or_throw(std::move(client));
        }
        std::this_thread::sleep_for(milliseconds(20));
    }
}

}  // namespace

LinkSession::LinkSession(const lib::Config& config, milliseconds patience)
    : region_(value_or_throw(lib::CommandRegion::create(lib::new_epoch()))) {
    const auto deadline = Clock::now() + patience;
    link_.emplace(connect(config, region_, deadline));
    up_.emplace(value_or_throw(link_->wait_up(patience)));
    commands_.emplace(region_.block().commands, up_->status.block().commands_consumed);
    completions_.emplace(up_->status.block().completions, region_.block().completions_consumed);
}

lib::CompletionRecord LinkSession::commit() {
    batch_.commit(lib::Token{++token_});
    while (!batch_.drained()) {
        if (!batch_.drain(*commands_)) {
            throw std::runtime_error("the dataplane's side of the command ring is impossible");
        }
        link_->wake();
        if (!batch_.drained()) {
            serve(milliseconds(1));
        }
    }
    batch_.clear();
    while (answers_.empty()) {
        serve(beat);
    }
    const lib::CompletionRecord answer = answers_.front();
    answers_.pop_front();
    if (answer.id != token_) {
        throw std::runtime_error("a completion of another commit");
    }
    return answer;
}

void LinkSession::serve(milliseconds patience, int also) {
    const auto deadline = Clock::now() + patience;
    for (;;) {
        lib::add(region_.block().heartbeat, 1);
        std::array<pollfd, 2> descriptors{pollfd{link_->fd(), POLLIN, 0}, pollfd{also, POLLIN, 0}};
        const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now());
        const milliseconds wait = std::min(std::max(left, milliseconds{0}), beat);
        poll(descriptors.data(), descriptors.size(), static_cast<int>(wait.count()));
        while (const auto event = link_->poll()) {
            if (const auto* lost = std::get_if<lib::DataplaneLost>(&*event)) {
                throw std::runtime_error("the dataplane is gone: " + lost->reason.message);
            }
        }
        take_completions();
        if (!answers_.empty() || descriptors[0].revents != 0 || descriptors[1].revents != 0 ||
            Clock::now() >= deadline) {
            return;
        }
    }
}

void LinkSession::take_completions() {
    lib::CompletionRecord record;
    for (;;) {
        const auto popped = completions_->pop(record);
        if (!popped) {
            throw std::runtime_error("the dataplane's side of the completion ring is impossible");
        }
        if (!*popped) {
            return;
        }
        const bool answer =
            record.kind == lib::CompletionKind::committed || record.kind == lib::CompletionKind::refused;
        if (answer) {
            answers_.push_back(record);
        } else {
            events_.push_back(record);
        }
    }
}

std::vector<lib::CompletionRecord> LinkSession::take_events() {
    return std::exchange(events_, {});
}

}  // namespace flowtap::tools
