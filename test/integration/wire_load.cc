// wire-load: frames with serial numbers into both ends of a wire, at a rate that waits for nobody, and a
// count of what comes out of them. Reads one JSON command a line, answers with one JSON object a line.
//
//   wire-load feed-a feed-b
//   {"do":"aim","first":"10.9.0.0","count":100,"every":8}
//                      from now on every 8th frame is of one of 100 hosts by turns, the others of hosts in
//                      10.200.0.0/16 -> {"from":[serial,serial]}, the first frames, each way, to which that
//                      applies
//   {"do":"pace","pps":50000}   each way; 0: none
//   {"do":"marks"}     -> {"sent":[..],"received":[..],"lost":[..],"wrong":"","pps":..,"latency":..}
//   {"do":"drain"}     no more frames; answers as marks does, when the last one has come out at each side
//
// Way 0 is in at the first end and out at the second. `pps` is what was sent, each way, since the last
// `pace`; `latency` the longest, in nanoseconds, that a frame took since the last marks. A frame's way begins
// just before it is handed to the kernel and ends when the worker hands it over at the other side, by the
// kernel's clock: how long this program is off its core meanwhile is not in it. What has not come when a
// later one comes is lost: a wire of one worker keeps the order. After a drain the last frame sent has come,
// since another is sent while none does.
#include "test/integration/line_commands.h"
#include "test/integration/wire_way.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <cstdint>
#include <string>

namespace flowtap::test {
namespace {

using nlohmann::json;

/// As many frames may follow one another at once after a time without its core, as they might on a link.
constexpr std::uint64_t most_at_once = 128;
constexpr std::uint64_t drain_interval = second / 100;

class Load {
  public:
    Load(int a, int b) : ways_{Way(0, a, b), Way(1, b, a)} {}

    void run() {
        for (std::uint64_t round = 0; !commands_.ended(); ++round) {
            bool idle = !send_due();
            for (Way& way : ways_) {
                for (unsigned bursts = 0; bursts < 8 && way.receive(); ++bursts) {
                    idle = false;
                }
            }
            if (draining_ && ways_[0].all_out() && ways_[1].all_out()) {
                draining_ = false;
                tell(marks());
            }
            if (idle || round % 16 == 0) {
                // While there is something to send, this keeps its core: a machine with much to do would not
                // give it back in time.
                commands_.read(pps_ == 0 && !draining_ ? -1 : 0,
                               [this](const json& command, const std::string& what) { obey(command, what); });
            }
        }
    }

  private:
    /// True if there was any. A time without the core is not made up for: the rate is then lower.
    bool send_due() {
        const std::uint64_t time = now();
        const std::uint64_t interval = draining_ ? drain_interval : pps_ != 0 ? second / pps_ : 0;
        if (interval == 0) {
            return false;
        }
        const std::uint64_t due = std::min((time - last_) / interval, draining_ ? 1 : most_at_once);
        if (due == 0) {
            return false;
        }
        last_ = due == most_at_once || draining_ ? time : last_ + due * interval;
        for (std::uint64_t i = 0; i < due; ++i) {
            for (Way& way : ways_) {
                if (!draining_ || !way.all_out()) {
                    way.send_one();
                }
            }
        }
        return true;
    }

    json marks() {
        const std::uint64_t paced = std::max<std::uint64_t>(1, now() - paced_at_);
        return {{"sent", {ways_[0].sent(), ways_[1].sent()}},
                {"received", {ways_[0].received(), ways_[1].received()}},
                {"lost", {ways_[0].lost(), ways_[1].lost()}},
                {"wrong", ways_[0].wrong() + ways_[1].wrong()},
                {"pps", (ways_[0].sent() - paced_from_) * second / paced},
                {"latency", std::max(ways_[0].take_latency(), ways_[1].take_latency())}};
    }

    void obey(const json& command, const std::string& what) {
        if (what == "drain") {
            draining_ = true;
            pps_ = 0;
            last_ = now();
        } else if (what == "pace") {
            pps_ = command.at("pps");
            last_ = paced_at_ = now();
            paced_from_ = ways_[0].sent();
            tell(json::object());
        } else if (what == "aim") {
            in_addr first{};
            if (inet_pton(AF_INET, command.at("first").get<std::string>().c_str(), &first) != 1) {
                die("no address: " + command.dump());
            }
            const Aim aim{ntohl(first.s_addr), command.at("count"), command.at("every")};
            tell({{"from", {ways_[0].aim(aim), ways_[1].aim(aim)}}});
        } else if (what == "marks") {
            tell(marks());
        } else {
            die("no command: " + what);
        }
    }

    std::array<Way, 2> ways_;
    std::uint64_t pps_ = 0;
    std::uint64_t last_ = 0;  ///< until then frames have been sent
    std::uint64_t paced_at_ = 0;
    std::uint64_t paced_from_ = 0;
    LineCommands commands_;
    bool draining_ = false;
};

}  // namespace
}  // namespace flowtap::test

int main(int argc, char* argv[]) {
    using namespace flowtap::test;
    if (argc != 3) {
        die("expected the names of two interfaces");
    }
    Load(open_end(argv[1]), open_end(argv[2])).run();
    return 0;
}
