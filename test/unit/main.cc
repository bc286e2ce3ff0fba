// The test runner's main: Catch2's, which also leaves a JUnit file in $FLOWTAP_JUNIT_DIR for tools/test.
// Built with a sanitizer it leaves out [as-shipped]: what the sanitizer's runtime changes (locked memory,
// system calls, allocation).
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>

#include <cstdlib>
#include <filesystem>
#include <string>

int main(int argc, char* argv[]) {
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
