// A dataplane whose drop policies come from here, beside the configuration file's: test_service.py says what
// they are.
//
//     dataplane-with-policies --config FILE --simd NAME
#include "dataplane/startup.h"
#include "lib/config.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

int main(int argc, char* argv[]) {
    namespace lib = flowtap::lib;
    if (argc < 3) {
        return 2;
    }
    spdlog::set_default_logger(spdlog::stderr_logger_mt("dataplane"));
    auto config = lib::load_config(argv[2]);
    if (!config) {
        return 2;
    }
    config->drop_policies.resize(2);
    lib::DropPolicyConfig& video = config->drop_policies[0];
    video.criterion.protocol = {{17, 17, false}};
    video.criterion.dest_port = {{1, 10, false}};
    video.both_families = true;
    config->drop_policies[1].criterion.interfaces = {{0, 100}};
    config->drop_policies[1].both_families = true;
    const auto done = flowtap::dataplane::run(*config, {.simd = flowtap::dataplane::match::best_simd()});
    return done ? 0 : static_cast<int>(done.error().code);
}
