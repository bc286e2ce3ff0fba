#include "lib/config_reference.h"

#include "lib/config_schema.h"

namespace flowtap::lib {
namespace {

constexpr std::string_view introduction =
    R"(# The configuration file

<!-- Generated from the schema (lib/config_sections.cc) by `ninja -C BUILD update-docs`. Do not edit. -->

One TOML file, which all processes of the box read: `--config FILE`. Every process checks the whole file when it
starts; what is wrong with it is reported all at once, each with file, line and column, and the process ends with exit
code 2. Relative paths begin at the file's folder. `[section]` is written once, `[[section]]` once for each element.
)";

}  // namespace

std::string configuration_reference() {
    std::string page(introduction);
    for (const ConfigSection& section : config_sections()) {
        page += fmt::format(
            "\n## {0}{1}{2}\n{3}{4}\n\n| key | value | if missing | meaning |\n|---|---|---|---|\n",
            section.list ? "[[" : "[", section.name, section.list ? "]]" : "]", section.description,
            section.required ? " Required." : "");
        for (const KeyInfo& key : section.keys) {
            page += fmt::format("| `{}` | {} | {} | {} |\n", key.name, key.phrase,
                                key.fallback.empty() ? "refused" : key.fallback, key.description);
        }
    }
    return page;
}

}  // namespace flowtap::lib
