#include "control/lease_granter.h"

#include <asio/post.hpp>
#include <fmt/format.h>

#include <utility>

namespace flowtap::control {

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

std::expected<lib::Lease, std::string> LeaseGranter::grant_now(const KeyDigest& key,
                                                               const SequenceSpace& space,
                                                               std::uint64_t witness) {
    if (!store_) {
        auto opened = LeaseStore::open(directory_);
        if (!opened) {
            return std::unexpected{opened.error()};
        }
        store_ = std::move(*opened);
    }
    if (store_->knows(key) && !store_->check_witness(key, witness)) {
        return std::unexpected{fmt::format(
            "{}: the counter record of this key was rolled back: install a new key", directory_.string())};
    }
    auto lease = store_->grant(key, space);
    if (!lease) {
        // Whatever is on the medium now is read again next time, with what that costs.
        store_.reset();
    }
    return lease;
}

}  // namespace flowtap::control
