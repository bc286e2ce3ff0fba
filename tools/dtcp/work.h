// Where the requests of a run come from: the command line, a file, or standard input as it is typed.
#pragma once

#include "tools/dtcp/problem.h"
#include "tools/dtcp/request.h"

#include <cstddef>
#include <deque>
#include <expected>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace flowtap::tools::dtcp {

struct Job {
    std::size_t line = 0;  ///< of the file, from 1; 0: the command line
    RequestSpec request;
    unsigned repeats = 0;  ///< times that it has been sent again
};

struct LineError {
    std::size_t line = 0;
    std::string message;
};

class Work {
  public:
    Work() = default;
    Work(const Work&) = delete;
    Work& operator=(const Work&) = delete;
    virtual ~Work() = default;

    /// The next request, if it is there now.
    virtual std::optional<Job> next() = 0;
    /// How many next() would give at once.
    virtual std::size_t ready() const = 0;
    /// Nothing will come any more.
    virtual bool ended() const = 0;
    /// What to poll() for more; -1: nothing to wait for.
    virtual int descriptor() const { return -1; }
    /// To be called when it is readable.
    virtual void read_more() {}
    /// Lines that were no request, since the last call.
    virtual std::vector<LineError> take_errors() { return {}; }
};

/// Requests that are all known.
class KnownWork final : public Work {
  public:
    explicit KnownWork(std::deque<Job> jobs) : jobs_{std::move(jobs)} {}

    std::optional<Job> next() override;
    std::size_t ready() const override { return jobs_.size(); }
    bool ended() const override { return jobs_.empty(); }

  private:
    std::deque<Job> jobs_;
};

struct Batch {
    std::deque<Job> jobs;
    std::vector<LineError> errors;  ///< of every line that is no request
};

/// The requests of a file, "-" for standard input. The error: it cannot be read.
std::expected<Batch, Problem> read_batch(const std::filesystem::path& file);

/// Lines of a descriptor as they come.
class TypedWork final : public Work {
  public:
    /// Of a line without its end; longer ones are errors.
    static constexpr std::size_t longest_line = 65'536;

    explicit TypedWork(int descriptor) : descriptor_{descriptor} {}

    std::optional<Job> next() override;
    std::size_t ready() const override { return jobs_.size(); }
    bool ended() const override { return ended_ && jobs_.empty(); }
    int descriptor() const override { return ended_ ? -1 : descriptor_; }
    void read_more() override;
    std::vector<LineError> take_errors() override;

  private:
    void take_line(std::string_view line);

    int descriptor_;
    LineParser parser_;
    std::string rest_;
    std::size_t line_ = 0;
    std::deque<Job> jobs_;
    std::vector<LineError> errors_;
    bool ended_ = false;
    bool too_long_ = false;  ///< in the middle of a line that is
};

}  // namespace flowtap::tools::dtcp
