// The test runner's main: Catch2's, which also leaves a JUnit file in $FLOWTAP_JUNIT_DIR for tools/test.
// Built with a sanitizer it leaves out [as-shipped]: what the sanitizer's runtime changes (locked memory,
// system calls, allocation). With --list-rules alone it prints which rules of DTCP its tests prove.
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>
#include <string_view>

namespace {

/// One line for each tag [dtcp:RULE] of a test that runs: file, test, RULE; tabs between them.
void list_rules() {
    constexpr std::string_view prefix = "dtcp:";
    for (const auto& test : Catch::getRegistryHub().getTestCaseRegistry().getAllTests()) {
        for (const auto& tag : test.tags) {
            if (!test.isHidden() && tag.starts_with(prefix)) {
                std::cout << test.lineInfo.file << '\t' << test.name << '\t' << tag.substr(prefix.size())
                          << '\n';
            }
        }
    }
}

}  // namespace

int main(int argc, char* argv[]) {
    if (argc == 2 && std::string_view{argv[1]} == "--list-rules") {
        list_rules();
        return std::cout.flush() ? 0 : 1;
    }
    Catch::Session session;
    if (const char* directory = std::getenv("FLOWTAP_JUNIT_DIR"); directory != nullptr) {
        const auto name = std::filesystem::path(argv[0]).filename().string();
        session.configData().reporterName = "junit";
        session.configData().outputFilename = std::string(directory) + "/" + name + ".xml";
    }
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    session.configData().testsOrTags.emplace_back("~[as-shipped]");
#endif
    if (const int error = session.applyCommandLine(argc, argv); error != 0) {
        return error;
    }
    return session.run();
}
