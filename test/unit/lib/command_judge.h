// Judges what a CommandReader lets through, by rules written down a second time: it shares none of the
// reader's code.
#pragma once

#include "lib/command_reader.h"

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace flowtap::test {

/// What is wrong with a batch that may be applied or was refused; empty: nothing.
std::string judge_batch(const lib::Batch& batch, const lib::ReaderLimits& limits);

/// Feeds a reader the records of valid batches, each batch with a few random changes (bits, bytes, fields,
/// records dropped, doubled, exchanged), and judges every batch that comes out.
class MutationRun {
  public:
    explicit MutationRun(std::uint64_t seed);

    void mutate(std::uint64_t records);

    const std::string& complaint() const { return complaint_; }
    std::uint64_t applied() const { return applied_; }
    std::uint64_t refused() const { return refused_; }

  private:
    std::vector<lib::CommandRecord> make_valid();
    void spoil(std::vector<lib::CommandRecord>& records);

    std::mt19937_64 random_;
    std::string complaint_;
    std::uint64_t applied_ = 0;
    std::uint64_t refused_ = 0;
};

}  // namespace flowtap::test
