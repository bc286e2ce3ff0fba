// A reference model of the DTCP service: what dtcp.md says about taps, told with a map and without a
// dataplane, a registry or a codec. It shares no code with control/ or lib/.
//
// It is told what happened (a request and its answer, time, packets, deaths) and says whether that could be.
// Where the document leaves room, so does the model: which of several faults is named first, and the seconds
// within which a tap is found idle. Everything else has to be as predicted, to the letter.
//
// A value: whoever is not sure in which order things happened copies it and tries.
#pragma once

#include "test/unit/control/model_ask.h"
#include "test/unit/control/model_text.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace flowtap::test::model {

/// What of a tap never changes.
struct TapText {
    int source = 0;
    bool is_static = false;
    std::vector<std::string> cdests;
    std::string cdest_line;                 ///< the value as given
    std::vector<std::string> filter_lines;  ///< as a LIST shows them
    std::vector<std::string> other_lines;
    std::string criterion;
    std::vector<std::string> destinations;
    std::string action;
    std::string client;  ///< address
    std::int64_t added_utc = 0;
    std::uint64_t added_boot = 0;
};

struct ModelTap {
    std::shared_ptr<const TapText> text;
    std::map<std::string, std::uint64_t> specified;  ///< timeouts other than zero
    std::uint64_t total_from = 0;
    std::uint64_t idle_from = 0;
    std::uint64_t packets_end = 0;
    std::uint64_t bytes_end = 0;
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;
    std::uint64_t life_packets = 0;  ///< in this life of the dataplane
    std::uint64_t life_bytes = 0;
    std::uint64_t refreshes = 0;
    std::int64_t refreshed_utc = 0;
    std::set<std::string> policies;
    // When it was last active, as far as the service can have noticed.
    std::uint64_t active_first = 0;
    std::uint64_t active_last = 0;
    std::vector<std::uint64_t> unnoticed{};                          ///< packets that may not be noticed yet
    std::vector<std::pair<std::uint64_t, std::uint64_t>> carried{};  ///< when, bytes
};

/// How a tap came to its end: the words of the events.
struct Ended {
    std::uint64_t id = 0;
    std::set<std::string> reasons;
};

class Model;

/// What a request's circumstances allow besides what it deserves.
struct Latitude {
    bool may_fail = false;      ///< 500 for what adds or changes
    bool no_additions = false;  ///< nothing is added
    bool no_removals = false;   ///< nothing is removed: 500
    bool may_be_full = false;   ///< 550 and 551: others are on their way, or the dead are not buried
    /// Of several sessions, which take room before they are seen: ADDs under way, and their content
    /// destinations.
    std::size_t adds = 0;
    std::size_t cdests = 0;
    const Model* before = nullptr;  ///< what there was: a removal gives its room back when it is done
    std::int64_t until = 0;         ///< answered until then; 0: at once
};

class Model {
  public:
    /// The highest sequence number of each source on one session.
    using Talk = std::map<int, std::uint64_t>;

    /// The request is never answered. Moves the session's sequence window.
    static bool silent(const Ask& ask, Talk& talk);

    /// The request was done and answered so; nullptr: done, and the answer was lost. False: that cannot be,
    /// and `why` tells.
    bool step(const Ask& ask, const Reply* reply, const Latitude& latitude, Moment now,
              const std::string& client, std::string& why);

    void pass(Moment now);
    /// That many packets of that size, until a limit is reached.
    void count(std::uint64_t id, std::uint64_t packets, std::uint64_t size, Moment now);
    void dataplane_died(Moment now);
    void dataplane_started(Moment now);
    void control_restarted(Moment now);
    void everything_lost(Moment now);

    /// Taps that may have been found idle by now, or not yet.
    std::vector<std::uint64_t> perhaps_idle(Moment now) const;
    void found_idle(std::uint64_t id);

    /// A tap that was added in an answer that was lost: which of the IDs that nobody has seen is its?
    /// `lists`: what each source is shown. False: there is none for one of them.
    bool name_the_unnamed(const std::vector<Reply>& lists, Moment now, std::string& why);

    /// What a LIST of all of the source's must say.
    bool check_list(int source, const Reply& reply, Moment now, std::string& why) const;

    const std::map<std::uint64_t, ModelTap>& taps() const { return taps_; }
    const std::set<std::uint64_t>& names() const {
        return names_;
    }  ///< every Criteria-ID that was ever given
    std::vector<Ended> take_ended() { return std::exchange(ended_, {}); }
    std::vector<std::uint64_t> of(int source) const;
    bool up() const { return up_; }

    static constexpr std::uint64_t unnamed = std::uint64_t{1} << 62;

  private:
    Blames judge(const Ask& ask) const;
    /// What an ADD deserves for want of room, if `adds` others with that many content destinations have taken
    /// some.
    Blames judge_room(const Ask& ask, std::size_t adds, std::size_t others_cdests) const;
    Blames judge_add(const Ask& ask) const;
    Blames judge_change(const Ask& ask) const;
    /// By the selector; `unknown`: an explicit ID that is not the source's.
    std::vector<std::uint64_t> chosen(const Ask& ask, bool& unknown) const;
    std::vector<std::uint64_t> changed(const Ask& ask) const;
    bool add(const Ask& ask, const Reply* reply, Moment now, const std::string& client, std::string& why);
    void change(const Ask& ask, const std::vector<std::uint64_t>& ids, Moment now);
    void refresh(ModelTap& tap, const Ask& ask, Moment now) const;
    bool matches_list(const Ask& ask, const Reply& reply, Moment now, std::string& why) const;
    bool matches_entry(std::uint64_t id, const ModelTap& tap, bool criteria, bool statistics, Moment now,
                       const std::vector<std::string>& lines, std::size_t& at, std::string& why) const;
    bool matches_statistics(const ModelTap& tap, Moment now, const std::vector<std::string>& lines,
                            std::size_t& at, std::string& why) const;
    bool bandwidth_fits(const ModelTap& tap, std::uint64_t value, Moment now) const;
    void end(std::uint64_t id, std::set<std::string> reasons);
    void notice(ModelTap& tap, std::uint64_t now) const;
    std::pair<std::uint64_t, std::uint64_t> active(const ModelTap& tap, std::uint64_t now) const;
    static TapText text_of(const Ask& ask, Moment now, const std::string& client);

    std::map<std::uint64_t, ModelTap> taps_;
    std::set<std::uint64_t> names_;
    std::vector<Ended> ended_;
    std::uint64_t next_unnamed_ = unnamed;
    bool up_ = true;
    std::uint64_t up_since_ = 0;
    std::uint64_t reading_since_ = 0;  ///< counters are read in turn from here on
    std::uint64_t metered_since_ = 0;  ///< bandwidths are known from here on
};

}  // namespace flowtap::test::model
