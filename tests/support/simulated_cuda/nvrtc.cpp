// libnvrtc.so.13 that compiles CUDA C++ for this processor: g++ over prelude.h. What it calls a cubin is a shared
// library, so that CuPy's cache of compiled kernels holds it like any other.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>

#include <unistd.h>

#define API extern "C" __attribute__((visibility("default")))

// build.py sets COMPILER (a command with its options), PRELUDE_FOLDER and FINGERPRINT (of all that shapes a kernel).
#if !defined(COMPILER) || !defined(PRELUDE_FOLDER) || !defined(FINGERPRINT)
#error "see build.py"
#endif

namespace {

enum Result { kSuccess = 0, kInvalidProgram = 4, kInvalidOption = 5, kCompilation = 6, kNameNotValid = 10 };

struct Program {
    std::string source, image, log;
};

bool starts_with(const std::string& text, const char* start) { return text.rfind(start, 0) == 0; }

std::string quoted(const std::string& text) {
    std::string result = "'";
    for (const char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return result + "'";
}

// Variables <kernel>_kernel that driver.cpp looks up.
std::string launchers(const std::string& source) {
    static const std::regex declaration(
        R"(extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\()");
    static const std::regex waiting("__sync|__shfl");
    const char* with_fibers = std::regex_search(source, waiting) ? "true" : "false";
    std::set<std::string> names;
    for (auto at = std::sregex_iterator(source.begin(), source.end(), declaration); at != std::sregex_iterator(); ++at)
        names.insert((*at)[1]);
    std::string text;
    for (const std::string& name : names)
        text += "extern \"C\" const simulated_cuda::Kernel " + name + "_kernel = simulated_cuda::Launcher<" + name +
                ", " + with_fibers + ">::kernel;\n";
    return text;
}

// g++ is told the standard by build.py; the rest is about GPUs.
bool is_of_no_consequence(const std::string& option) {
    return starts_with(option, "-arch=") || option == "--std=c++17" || option == "-std=c++17" ||
           option == "--device-as-default-execution-space";
}

int compile(Program& program, int count, const char* const* options) {
    std::string flags;
    bool flushes_denormals = false;
    for (int i = 0; i < count; ++i) {
        const std::string option = options[i];
        if (starts_with(option, "-I") || starts_with(option, "-D"))
            flags += " " + quoted(option);
        else if (option == "-ftz=true")
            flushes_denormals = true;
        else if (!is_of_no_consequence(option)) {
            program.log = "the simulated NVRTC does not know the option " + option;
            return kInvalidOption;
        }
    }
    char folder[] = "/tmp/simulated-nvrtc-XXXXXX";
    if (!mkdtemp(folder)) return kCompilation;
    const std::string input = std::string(folder) + "/kernel.cpp", output = std::string(folder) + "/kernel.so";
    std::ofstream(input) << program.source << "\n#undef asm\n" << launchers(program.source)
                         << "extern \"C\" const bool simulated_cuda_flushes_denormals = "
                         << (flushes_denormals ? "true" : "false") << ";\n";
    const std::string command =
        COMPILER " -I" + quoted(PRELUDE_FOLDER) + flags + " -o " + quoted(output) + " " + quoted(input) + " 2>&1";
    FILE* compiler = popen(command.c_str(), "r");
    char text[4096];
    while (compiler && fgets(text, sizeof text, compiler)) program.log += text;
    const bool failed = !compiler || pclose(compiler) != 0;
    std::ifstream file(output, std::ios::binary);
    program.image.assign(std::istreambuf_iterator<char>(file), {});
    file.close();
    unlink(input.c_str());
    unlink(output.c_str());
    rmdir(folder);
    return failed || program.image.empty() ? kCompilation : kSuccess;
}

}  // namespace

API int nvrtcVersion(int* major, int* minor) {
    *major = 13;
    *minor = 0;
    return kSuccess;
}

API int nvrtcGetNumSupportedArchs(int* count) {
    *count = 1;
    return kSuccess;
}

API int nvrtcGetSupportedArchs(int* architectures) {
    *architectures = 90;
    return kSuccess;
}

API const char* nvrtcGetErrorString(int result) {
    return result == kSuccess ? "no error" : "the simulated NVRTC refused a program";
}

API int nvrtcCreateProgram(Program** program, const char* source, const char*, int, const char* const*,
                           const char* const*) {
    *program = new Program{source, "", ""};
    return kSuccess;
}

API int nvrtcDestroyProgram(Program** program) {
    delete *program;
    *program = nullptr;
    return kSuccess;
}

API int nvrtcCompileProgram(Program* program, int count, const char* const* options) {
    return program->source.empty() ? kSuccess : compile(*program, count, options);
}

API int nvrtcAddNameExpression(Program*, const char*) { return kNameNotValid; }  // only extern "C" has a name here

API int nvrtcGetLoweredName(Program*, const char*, const char**) { return kNameNotValid; }

API int nvrtcGetCUBINSize(Program* program, size_t* size) {
    *size = program->image.size();
    return kSuccess;
}

API int nvrtcGetCUBIN(Program* program, char* image) {
    std::memcpy(image, program->image.data(), program->image.size());
    return kSuccess;
}

// CuPy asks for that of an empty program and makes the comments part of its cache's keys.
static const char kPtx[] = "// simulated NVRTC " FINGERPRINT "\n";

API int nvrtcGetPTXSize(Program*, size_t* size) {
    *size = sizeof kPtx;
    return kSuccess;
}

API int nvrtcGetPTX(Program*, char* text) {
    std::memcpy(text, kPtx, sizeof kPtx);
    return kSuccess;
}

API int nvrtcGetLTOIRSize(Program*, size_t*) { return kInvalidProgram; }
API int nvrtcGetLTOIR(Program*, char*) { return kInvalidProgram; }

API int nvrtcGetProgramLogSize(Program* program, size_t* size) {
    *size = program->log.size() + 1;
    return kSuccess;
}

API int nvrtcGetProgramLog(Program* program, char* log) {
    std::memcpy(log, program->log.c_str(), program->log.size() + 1);
    return kSuccess;
}
