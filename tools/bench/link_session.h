// Plays control for tests and benchmarks: connects to a dataplane as flowtap-control would, installs taps and
// associations, reads the counters. Uses lib/ only, and so nothing of what it judges.
#pragma once

#include "lib/command_writer.h"
#include "lib/config.h"
#include "lib/link.h"
#include "lib/region.h"

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

namespace flowtap::tools {

/// Thread safety: one thread. Errors are exceptions (std::runtime_error): the caller is a tool.
class LinkSession {
  public:
    /// Connects, trying again until `patience` is over.
    LinkSession(const lib::Config& config, std::chrono::milliseconds patience);

    lib::CommandBatch& batch() { return batch_; }

    /// Pushes the batch with a commit behind it, and waits for its completion.
    lib::CompletionRecord commit();

    /// Takes what the dataplane has sent and shows it that control is alive; waits for it at most `patience`,
    /// and returns at once when `also` becomes readable.
    void serve(std::chrono::milliseconds patience, int also = -1);

    /// Events since the last call: completions of no commit.
    std::vector<lib::CompletionRecord> take_events();

    const lib::StatusView& status() const { return up_->status; }

  private:
    void take_completions();

    lib::CommandRegion region_;
    std::optional<lib::LinkClient> link_;
    std::optional<lib::DataplaneUp> up_;
    std::optional<lib::CommandProducer> commands_;
    std::optional<lib::CompletionConsumer> completions_;
    lib::CommandBatch batch_;
    std::deque<lib::CompletionRecord> answers_;
    std::vector<lib::CompletionRecord> events_;
    std::uint64_t token_ = 0;
};

}  // namespace flowtap::tools
