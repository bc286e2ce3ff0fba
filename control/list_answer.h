// The answer to one LIST: a snapshot of the taps at the moment of the request, written in slices so that a
// source with many taps holds up nobody else.
#pragma once

#include "control/tasking.h"
#include "lib/dtcp/list_response.h"
#include "lib/dtcp/requests.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace flowtap::control {

class ListAnswer {
  public:
    /// Takes the snapshot. `tasking` is not used afterwards; `source` must outlive the answer.
    /// `limit`: bytes of a message; SIZE_MAX: all in one.
    ListAnswer(const Tasking& tasking, Source& source, const lib::dtcp::ListRequest& request,
               lib::dtcp::Version version, std::uint64_t seq, Now now, std::size_t limit);

    /// Writes some entries; true: the answer is complete.
    bool advance();

    /// The whole answer, when it is complete: one message, as Junos sends it on a stream, or several.
    std::string take();

  private:
    struct Item {
        std::shared_ptr<const TapText> text;
        std::uint64_t id = 0;
        std::int64_t added_utc = 0;
        lib::IpAddress csource_address;
        lib::dtcp::Timeouts specified;
        std::optional<lib::dtcp::ListStatistics> statistics;
    };

    static constexpr std::size_t slice = 128;

    const Source* source_;
    bool criteria_;
    std::vector<Item> items_;
    std::size_t next_ = 0;
    lib::dtcp::ListWriter writer_;
};

}  // namespace flowtap::control
