#include "control/ssh/bridge.h"

#include <array>
#include <cerrno>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace flowtap::control::ssh {
namespace {

/// One direction: what was read and is not written yet. It is read only when empty, so that bytes are never
/// moved.
class Direction {
  public:
    Direction(int from, int to) : from_(from), to_(to) {}

    bool finished() const { return source_ended_ && empty(); }
    bool empty() const { return begin_ == end_; }
    int wants_read() const { return empty() && !source_ended_ ? from_ : -1; }
    int wants_write() const { return empty() ? -1 : to_; }

    /// False: the source failed, and counts as ended.
    bool read() {
        const auto got = ::read(from_, buffer_.data(), buffer_.size());
        if (got > 0) {
            begin_ = 0;
            end_ = static_cast<std::size_t>(got);
            return true;
        }
        if (got < 0 && again(errno)) {
            return true;
        }
        source_ended_ = true;
        return got == 0;
    }

    /// False: nobody takes the bytes any more; what was left of them is gone and the direction finished.
    bool write() {
        const auto put = ::write(to_, &buffer_[begin_], end_ - begin_);
        if (put >= 0) {
            begin_ += static_cast<std::size_t>(put);
            return true;
        }
        if (again(errno)) {
            return true;
        }
        source_ended_ = true;
        begin_ = end_;
        return false;
    }

  private:
    static bool again(int error) { return error == EAGAIN || error == EINTR; }

    int from_;
    int to_;
    bool source_ended_ = false;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::array<char, bridge_buffer> buffer_{};
};

}  // namespace

BridgeEnd run_bridge(const BridgeEnds& ends) {
    Direction requests(ends.from_client, ends.service);
    Direction answers(ends.service, ends.to_client);
    bool service_told = false;
    auto end = BridgeEnd::served;
    while (!answers.finished()) {
        if (requests.finished() && !service_told) {
            ::shutdown(ends.service, SHUT_WR);
            service_told = true;
        }
        // The client's output is always looked at: that its reader is gone shows as an error or hang-up
        // alone.
        std::array<pollfd, 4> events{{
            {requests.wants_read(), POLLIN, 0},
            {requests.wants_write(), POLLOUT, 0},
            {answers.wants_read(), POLLIN, 0},
            {ends.to_client, static_cast<short>(answers.wants_write() >= 0 ? POLLOUT : 0), 0},
        }};
        if (::poll(events.data(), events.size(), -1) < 0) {
            if (errno == EINTR) {
                continue;
            }
            return BridgeEnd::cut;
        }
        const auto& client_in = events[0];
        const auto& service_in = events[2];
        const auto& client_out = events[3];
        if (client_in.revents != 0) {
            requests.read();  // a failure is the client's end
        }
        // What has just come is written without asking poll() for room: mostly there is, and if not, nothing
        // is taken. A service that takes no more requests may have answered before: its answers are still
        // delivered.
        if (!requests.empty() && !requests.write()) {
            end = BridgeEnd::cut;
        }
        if (service_in.revents != 0 && !answers.read()) {
            end = BridgeEnd::cut;
        }
        if (!answers.empty() && !answers.write()) {
            return BridgeEnd::served;
        }
        if ((client_out.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0) {
            return BridgeEnd::served;
        }
    }
    return end;
}

}  // namespace flowtap::control::ssh
