// Everything that a run prints, and the exit code it adds up to.
#pragma once

#include "lib/dtcp/response_reader.h"
#include "tools/dtcp/answer.h"
#include "tools/dtcp/options.h"
#include "tools/dtcp/problem.h"
#include "tools/dtcp/work.h"

#include <cstddef>
#include <expected>
#include <map>
#include <string>
#include <vector>

namespace flowtap::tools::dtcp {

using Result = std::expected<Answer, Problem>;

class Report {
  public:
    explicit Report(const Options& options);

    /// Of a request: exactly one a request that was sent or given up.
    void result(const Job& job, const Result& result);
    void notification(lib::dtcp::Response notification);
    /// A line that is no request.
    void line_error(const LineError& error);
    /// What befalls no request: a connection that is being made again, or the end of a watch.
    void remark(const Problem& problem);
    void fail(const Problem& problem);

    void count_not_sent(std::size_t requests) { not_sent_ += requests; }
    /// Of a batch.
    void summary() const;

    /// Whether something failed.
    bool failed() const { return exit_ != Outcome::done; }
    /// The class of the first failure.
    int exit_code() const { return static_cast<int>(exit_); }

  private:
    std::string where(std::size_t line) const;
    void note(Outcome outcome);

    bool json_;
    bool many_;
    bool tell_at_once_;  ///< notifications are the point, or there is no one answer to tell them with
    std::string file_;
    std::vector<lib::dtcp::Response> notifications_;
    std::map<Outcome, std::size_t> counts_;
    std::size_t not_sent_ = 0;
    Outcome exit_ = Outcome::done;
};

}  // namespace flowtap::tools::dtcp
