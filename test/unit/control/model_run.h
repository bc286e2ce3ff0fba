// The service and its reference model side by side, through requests, time, packets and deaths of chance.
#pragma once

#include "test/unit/control/box.h"
#include "test/unit/control/model.h"
#include "test/unit/control/model_requests.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace flowtap::test::model {

/// What can be seen from outside at one moment.
struct Sight {
    struct Installed {
        std::string criterion;
        std::vector<std::string> destinations;
        std::string action;
        lib::TapService service;
    };
    std::vector<Reply> lists;  ///< what each source is shown
    std::map<std::uint64_t, Installed> installed;
};

class Run {
  public:
    explicit Run(std::uint64_t seed);

    /// Throws std::runtime_error that tells the seed, the last steps and the difference.
    void go(std::size_t steps);

    /// How often each kind of step was taken, and each code answered: a run that has not seen all says
    /// little.
    const std::map<std::string, std::size_t>& seen() const { return seen_; }

  private:
    struct Client {
        control::SessionId session{};
        std::string user;
        std::string address;
        Model::Talk talk{};
        std::uint64_t next_seq = 1;
        unsigned rejected = 0;  ///< in a row
    };
    /// What one client sends in a burst, and what it gets.
    struct Track {
        std::size_t client = 0;
        std::string address;
        std::vector<Ask> asks{};  ///< that deserve an answer
        std::vector<std::string> keys{};
        std::string unsent;
        std::string text;  ///< answers as they came
        std::vector<Reply> replies{};
    };
    struct Wish {
        std::vector<int> sources;
        std::size_t asks = 1;
        bool apart = false;  ///< one kind of request, as one that waits for another is done later
        bool plain_ids = false;
    };

    void step();
    void single();
    void burst();
    void pass_time(std::uint64_t milliseconds);
    void count();
    void bounce_dataplane();
    void away();
    void refuse();
    void crash();
    void reopen();
    void suspect();
    void too_long();

    std::size_t client_of(int source);
    Ask ask_of(Client& client, int source, const Wish& wish, std::optional<Verb> verb);
    std::vector<Track> plan(const Wish& wish, std::size_t clients);
    void send(std::vector<Track>& tracks);
    void take(std::vector<Track>& tracks);
    void read(std::vector<Track>& tracks);
    /// Some order of what was asked that leads to the answers, and to what is seen; the model takes it.
    void explain(const std::vector<Track>& tracks, Latitude latitude, Moment when, bool lossy);
    bool search(const Model& model, const std::vector<Track>& tracks, std::vector<std::size_t>& at,
                const Latitude& latitude, Moment when, bool lossy, const std::function<bool(Model&)>& leaf);
    Sight look();
    bool agree(const Model& model, const Sight& sight, std::string& why) const;
    void compare();
    void compare_ids();
    void match_ended();
    void forget_clients();
    void note(std::string text);
    [[noreturn]] void differ(const std::string& why) const;
    Moment now() const { return {box_.now.boot, box_.now.utc}; }

    std::uint64_t seed_;
    Chance chance_;
    Box box_;
    Model model_;
    std::vector<Client> clients_;
    std::map<std::uint64_t, std::set<std::string>> ended_;  ///< that the service has not told yet
    std::deque<std::string> log_;
    std::map<std::string, std::size_t> seen_;
    std::size_t step_ = 0;
    std::string why_;
};

}  // namespace flowtap::test::model
