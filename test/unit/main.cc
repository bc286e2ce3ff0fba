// The test runner's main: Catch2's, which also leaves a JUnit file in $FLOWTAP_JUNIT_DIR for tools/test.
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
    if (const int error = session.applyCommandLine(argc, argv); error != 0) {
        return error;
    }
    return session.run();
}
