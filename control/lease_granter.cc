#include "control/lease_granter.h"

#include "control/clock.h"

#include <asio/post.hpp>
#include <fmt/format.h>

#include <utility>

namespace flowtap::control {

namespace {

std::int64_t utc_seconds() {
    return Now::read().utc / static_cast<std::int64_t>(nanoseconds_per_second);
}

}  // namespace

LeaseGranter::LeaseGranter(asio::io_context& io, std::filesystem::path directory)
    : io_{io}, directory_{std::move(directory)} {}

LeaseGranter::~LeaseGranter() {
    thread_.join();
}

void LeaseGranter::grant(const KeyDigest& key, const SequenceSpace& space, std::uint64_t witness, Done done) {
    asio::post(thread_, [this, key, space, witness, done = std::move(done)]() mutable {
        asio::post(io_, [lease = grant_now(key, space, witness), done = std::move(done)] { done(lease); });
    });
}

void LeaseGranter::record(std::vector<UseRecord> uses, Failed failed) {
    asio::post(thread_, [this, uses = std::move(uses), failed = std::move(failed)]() mutable {
        auto done = open_now();
        if (done) {
            done = store_->record(uses);
        }
        if (!done) {
            store_.reset();
            asio::post(io_, [reason = done.error(), uses = std::move(uses), failed = std::move(failed)] {
                failed(reason, uses);
            });
        }
    });
}

std::vector<KeyUse> LeaseGranter::uses(const std::vector<KeyDigest>& keys) {
    std::vector<KeyUse> uses;
    const auto opened = open_now();
    for (const auto& key : keys) {
        uses.push_back(opened ? store_->use(key, utc_seconds()) : KeyUse{});
    }
    return uses;
}

std::expected<void, std::string> LeaseGranter::open_now() {
    if (!store_) {
        auto opened = LeaseStore::open(directory_);
        if (!opened) {
            return std::unexpected{opened.error()};
        }
        store_ = std::move(*opened);
    }
    return {};
}

std::expected<lib::Lease, std::string> LeaseGranter::grant_now(const KeyDigest& key,
                                                               const SequenceSpace& space,
                                                               std::uint64_t witness) {
    if (auto opened = open_now(); !opened) {
        return std::unexpected{opened.error()};
    }
    if (store_->knows(key) && !store_->check_witness(key, witness)) {
        return std::unexpected{fmt::format(
            "{}: the counter record of this key was rolled back: install a new key", directory_.string())};
    }
    auto lease = store_->grant(key, space, utc_seconds());
    if (!lease) {
        // Whatever is on the medium now is read again next time, with what that costs.
        store_.reset();
    }
    return lease;
}

}  // namespace flowtap::control
