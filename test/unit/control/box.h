// The service with everything behind it that is the process's own, and a dataplane that does what the test
// says.
#pragma once

#include "control/criteria_ids.h"
#include "control/registry.h"
#include "control/restore.h"
#include "control/sequence_store.h"
#include "control/service.h"
#include "control/sources.h"
#include "control/tasking.h"
#include "lib/command_reader.h"
#include "lib/config.h"
#include "test/unit/control/scratch.h"

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace flowtap::test {

inline constexpr std::uint32_t box_taps = 64;

/// What must hold of the double itself; throws, so that it also serves where there is no Catch.
void ensure(bool holds, const char* what);

/// Two sources "a" (account a, at most 4 criteria and 3 destinations) and "b" (accounts b and officer);
/// routes to 192.0.2.0/24 and 2001:db8:f::/48; "known" is a configured destination of a's, "theirs" one of
/// b's. A wire of ports "a" and "b"; interfaces "ge-0" (port a), "ge-7.3" (b, VLAN 700), "trunk" (a, any);
/// VRF "red": ge-0.100 and b. Drop policies "web", "dns", "v6".
const lib::Config& box_config();

/// Signed with the key of source `source` ("key-a", "key-b"), or with `key`.
std::string message(std::string_view first_line, std::initializer_list<std::string_view> lines,
                    std::string_view source = "a", std::optional<std::string_view> key = {});

/// An ADD that is good for source a: static, to 192.0.2.1.
std::string add_message(std::uint64_t seq, std::initializer_list<std::string_view> more = {},
                        std::string_view source = "a");

class Box {
  public:
    /// The key of each source is "key-" and its name. `config` must outlive the box.
    /// `ids`: the Criteria-IDs are those of this number, the same in every run; unset: of chance.
    explicit Box(const lib::Config& config = box_config(), std::optional<std::uint64_t> ids = std::nullopt);

    // Clients

    control::SessionId open(const std::string& user = "a");
    /// Gives the bytes; then the dataplane does what it has been sent, unless it is away or paused.
    void send(control::SessionId session, std::string_view bytes);
    /// What was answered since, as one text; takes it like a client that reads.
    std::string take(control::SessionId session);
    /// send() and take() on a new session that is closed again.
    std::string ask(std::string_view bytes, const std::string& user = "a");

    // Dataplane

    /// Applies what has been sent, once; true: there was something.
    bool apply();
    void settle();
    bool paused = false;
    /// What it does is told to nobody: control is about to die.
    bool unheard = false;
    /// Refuses every addition and every new terms.
    bool refusing = false;
    /// Refuses the next commit if it touches that slot.
    std::optional<std::uint32_t> poison;
    void dataplane_dies();
    /// A new life, with its counters at zero, brought up to date.
    void dataplane_starts();
    /// That many packets come that the tap matches, of bytes/packets bytes each. A limit stops it like the
    /// dataplane does, which is told unless paused.
    void count(std::uint64_t tap, std::uint64_t packets, std::uint64_t bytes);
    /// As installed; nothing: it is not.
    std::optional<lib::Criterion> criterion(std::uint64_t tap) const;
    lib::TapService service_of(std::uint64_t tap) const;
    lib::TapAction action_of(std::uint64_t tap) const;
    std::vector<lib::TapDestination> destinations_of(std::uint64_t tap) const;
    bool is_up() const { return view_.has_value(); }
    /// The same, of which every copy is lost.
    void lose(std::uint64_t tap, std::uint64_t packets, std::uint64_t bytes);
    /// Taps that the dataplane has.
    std::vector<std::uint64_t> installed() const;
    std::size_t commits = 0;

    // Time

    void pass(std::uint64_t milliseconds);
    control::Now now{1'000'000'000'000, 1'600'000'000'000'000'000};

    control::SequenceStore sequences() {
        return control::SequenceStore::open(scratch_.path(), sources()).value();
    }

    /// The control process dies and another takes up its registry.
    void control_restarts();
    /// Both processes die, and with them the registry; both are started again.
    void both_restart();

    std::size_t events(control::SecurityReason reason);
    /// Taps that ended since the last call.
    std::vector<control::TapEvent> ended();
    std::uint64_t counter(control::ServiceCounter counter) { return service().counters()[counter]; }

    control::Service& service() { return *process_->service; }
    control::Tasking& tasking() { return process_->tasking; }
    control::Sources& sources() { return process_->sources; }

  private:
    struct Process {
        Process(const lib::Config& config, const Scratch& scratch);
        control::Sources sources;
        control::CriteriaIds ids;
        control::Tasking tasking;
        std::unique_ptr<control::Service> service;
    };

    void begin(lib::FileDescriptor kept);
    void link();
    bool take_batch(const lib::CommandBatch& batch);
    void tell_over();
    std::optional<std::uint32_t> slot_of(std::uint64_t tap) const;

    struct Installed {
        std::uint64_t id = 0;  ///< 0: free
        lib::Criterion criterion{};
        std::vector<lib::TapDestination> destinations{};
        lib::TapService service{};
        lib::TapAction action = lib::TapAction::copy;
        bool over = false;
    };

    const lib::Config& config_;
    Scratch scratch_;
    std::unique_ptr<Process> process_;
    std::optional<lib::StatusRegion> region_;
    std::optional<lib::StatusView> view_;
    std::vector<Installed> taps_;  ///< by slot
    std::uint64_t epoch_ = 0;
    std::uint64_t resync_not_before_ = 0;  ///< CLOCK_BOOTTIME: after one that was refused
    std::vector<control::SecurityEvent> events_;
    std::vector<control::TapEvent> ended_;
};

}  // namespace flowtap::test
