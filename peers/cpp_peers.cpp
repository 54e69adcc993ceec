// Eigen and oneDNN for the table of peers. The program in src/ runs this and speaks with it as src/worker.rs says.
//
//     cpp_peers THREADS DIRECTORY
//
// The data are in DIRECTORY, as little-endian float32: sequences batch-first, weights [out][in].

#include <Eigen/Core>
#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <omp.h>
#include <oneapi/dnnl/dnnl.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <unistd.h>
#include <unordered_map>
#include <vector>

constexpr int STEPS = 100, LONG_STEPS = 10000, BATCH = 64, SINGLE_STEPS = 1000;

using Floats = std::vector<float>;

// The tensors of a work by name.
struct Data {
    std::string directory, work;
    int size;

    Floats get(const std::string& name) const {
        std::ifstream file(directory + "/" + work + "." + name + ".f32", std::ios::binary | std::ios::ate);
        if (!file) throw std::runtime_error("no data named " + name);
        Floats values(file.tellg() / sizeof(float));
        file.seekg(0);
        file.read(reinterpret_cast<char*>(values.data()), values.size() * sizeof(float));
        return values;
    }

    // The two biases of a layer as one: neither library keeps two.
    Floats bias() const {
        Floats sum = get("bias_ih"), other = get("bias_hh");
        std::transform(sum.begin(), sum.end(), other.begin(), sum.begin(), std::plus<float>());
        return sum;
    }
};

// A piece of work, ready to be run again and again.
struct Candidate {
    virtual ~Candidate() = default;
    virtual void run() = 0;
    // Runs once, and gives all the numbers one after the other.
    virtual Floats result() = 0;
};

// ---------------------------------------------------------------------------------------------------- Eigen

// Single steps with matrices of fixed sizes, column-major: row-major ones took up to twice as long.
template <int H>
struct EigenStep : Candidate {
    using Rows = Eigen::Matrix<float, H, H, Eigen::RowMajor>;
    using Vector = Eigen::Matrix<float, H, 1>;

    // Those of the input, then those of the state.
    Eigen::Matrix<float, H, 2 * H> weights;
    Vector bias, x, h = Vector::Zero();

    explicit EigenStep(const Data& data) {
        const Floats weight_ih = data.get("weight_ih"), weight_hh = data.get("weight_hh");
        weights << Eigen::Map<const Rows>(weight_ih.data()), Eigen::Map<const Rows>(weight_hh.data());
        bias = Eigen::Map<const Vector>(data.bias().data());
        x = Eigen::Map<const Vector>(data.get("x").data());
    }

    Vector next(const Vector& state) const {
        Vector sum = bias;
        if constexpr (H <= 16) {
            // Up to here one product, unrolled, is the fastest.
            Eigen::Matrix<float, 2 * H, 1> both;
            both << x, state;
            sum.noalias() += weights.lazyProduct(both);
        } else {
            sum.noalias() += weights.template leftCols<H>() * x;
            sum.noalias() += weights.template rightCols<H>() * state;
        }
        return sum.array().tanh();
    }

    void run() override {
        // A local variable, so that a small state may stay in registers.
        Vector state = h;
        for (int step = 0; step < SINGLE_STEPS; ++step) {
            // Hides from the compiler that x is always the same, as black_box does in Rust.
            asm volatile("" : "+m"(x));
            state = next(state);
        }
        h = state;
    }

    Floats result() override {
        run();
        return Floats(h.data(), h.data() + H);
    }
};

std::unique_ptr<Candidate> eigen_step(const Data& data) {
    switch (data.size) {
        case 4: return std::make_unique<EigenStep<4>>(data);
        case 8: return std::make_unique<EigenStep<8>>(data);
        case 16: return std::make_unique<EigenStep<16>>(data);
        case 32: return std::make_unique<EigenStep<32>>(data);
        case 64: return std::make_unique<EigenStep<64>>(data);
        case 128: return std::make_unique<EigenStep<128>>(data);
    }
    throw std::runtime_error("no layer of " + std::to_string(data.size) + " neurons was compiled");
}

// ---------------------------------------------------------------------------------------------------- oneDNN

using dnnl::memory;
using Layout = memory::format_tag;

constexpr auto TANH = dnnl::algorithm::eltwise_tanh;
constexpr auto DIRECTION = dnnl::rnn_direction::unidirectional_left2right;
// Where a primitive gets this it does without: a first state of zeros, a last state that nobody asks for.
const memory::desc NONE;

dnnl::engine processor(dnnl::engine::kind::cpu, 0);
dnnl::stream stream(processor);

memory::desc description(const memory::dims& shape, Layout layout) { return {shape, memory::data_type::f32, layout}; }

void set_zero(memory& tensor) { std::memset(tensor.get_data_handle(), 0, tensor.get_desc().get_size()); }

memory zeros(const memory::desc& wanted) {
    memory tensor(wanted, processor);
    set_zero(tensor);
    return tensor;
}

void copy(memory source, memory target) {
    dnnl::reorder(source, target).execute(stream, source, target);
    stream.wait();
}

// Values in the layout of the files, as a tensor in the layout that a primitive wants.
memory load(Floats values, const memory::desc& file, const memory::desc& wanted) {
    if (values.size() * sizeof(float) != file.get_size()) throw std::runtime_error("data of a wrong length");
    memory tensor(wanted, processor);
    copy(memory(file, processor, values.data()), tensor);
    return tensor;
}

void append(Floats& result, const memory& tensor, const memory::desc& file) {
    const size_t start = result.size();
    result.resize(start + file.get_size() / sizeof(float));
    copy(tensor, memory(file, processor, &result[start]));
}

// One layer, all steps in one primitive.
struct OneDnnForward : Candidate {
    // Sequences as the files and as oneDNN have them; weights as the files have them and as the primitive chooses.
    // One layer, one direction and one gate are dimensions too.
    const memory::desc batch_first, time_major, out_in, any, bias;
    dnnl::vanilla_rnn_forward forward;
    std::unordered_map<int, memory> forward_arguments;

    OneDnnForward(const Data& data, int steps, int batch) : OneDnnForward(data.size, steps, batch) {
        make_forward(data, dnnl::prop_kind::forward_inference, NONE);
    }

    void run() override {
        forward.execute(stream, forward_arguments);
        stream.wait();
    }

    Floats result() override {
        run();
        Floats result;
        append(result, forward_arguments[DNNL_ARG_DST_LAYER], batch_first);
        return result;
    }

protected:
    OneDnnForward(int size, int steps, int batch)
        : batch_first(description({steps, batch, size}, Layout::ntc)),
          time_major(description({steps, batch, size}, Layout::tnc)),
          out_in(description({1, 1, size, 1, size}, Layout::ldgoi)),
          any(description({1, 1, size, 1, size}, Layout::any)),
          bias(description({1, 1, 1, size}, Layout::ldgo)) {}

    dnnl::vanilla_rnn_forward::primitive_desc make_forward(const Data& data, dnnl::prop_kind kind,
                                                           const memory::desc& first_state) {
        const dnnl::vanilla_rnn_forward::primitive_desc choice(
            {kind, TANH, DIRECTION, time_major, first_state, any, any, bias, time_major, NONE}, processor);
        forward = dnnl::vanilla_rnn_forward(choice);
        forward_arguments[DNNL_ARG_SRC_LAYER] = load(data.get("x"), batch_first, time_major);
        forward_arguments[DNNL_ARG_WEIGHTS_LAYER] = load(data.get("weight_ih"), out_in, choice.weights_layer_desc());
        forward_arguments[DNNL_ARG_WEIGHTS_ITER] = load(data.get("weight_hh"), out_in, choice.weights_iter_desc());
        forward_arguments[DNNL_ARG_BIAS] = load(data.bias(), bias, bias);
        forward_arguments[DNNL_ARG_DST_LAYER] = zeros(time_major);
        return choice;
    }
};

struct OneDnnTraining : OneDnnForward {
    const memory::desc state;
    dnnl::vanilla_rnn_backward backward;
    std::unordered_map<int, memory> backward_arguments;

    explicit OneDnnTraining(const Data& data)
        : OneDnnForward(data.size, STEPS, BATCH), state(description({1, 1, BATCH, data.size}, Layout::ldnc)) {
        const auto forward_choice = make_forward(data, dnnl::prop_kind::forward_training, state);
        forward_arguments[DNNL_ARG_SRC_ITER] = zeros(state);
        forward_arguments[DNNL_ARG_WORKSPACE] = zeros(forward_choice.workspace_desc());

        const dnnl::vanilla_rnn_backward::primitive_desc choice(
            {dnnl::prop_kind::backward, TANH, DIRECTION, time_major, state, any, any, bias, time_major, NONE,
             time_major, state, any, any, bias, time_major, NONE},
            processor, forward_choice);
        backward = dnnl::vanilla_rnn_backward(choice);
        backward_arguments = forward_arguments;
        // It likes other layouts of the weights than the forward does, so it has its own copies.
        backward_arguments[DNNL_ARG_WEIGHTS_LAYER] = load(data.get("weight_ih"), out_in, choice.weights_layer_desc());
        backward_arguments[DNNL_ARG_WEIGHTS_ITER] = load(data.get("weight_hh"), out_in, choice.weights_iter_desc());
        backward_arguments[DNNL_ARG_DIFF_DST_LAYER] = load(data.get("d_output"), batch_first, time_major);
        backward_arguments[DNNL_ARG_DIFF_SRC_LAYER] = zeros(time_major);
        backward_arguments[DNNL_ARG_DIFF_SRC_ITER] = zeros(state);
        backward_arguments[DNNL_ARG_DIFF_WEIGHTS_LAYER] = zeros(choice.diff_weights_layer_desc());
        backward_arguments[DNNL_ARG_DIFF_WEIGHTS_ITER] = zeros(choice.diff_weights_iter_desc());
        backward_arguments[DNNL_ARG_DIFF_BIAS] = zeros(bias);
    }

    void run() override {
        forward.execute(stream, forward_arguments);
        // To these three gradients oneDNN adds; it sets the others.
        for (int sum : {DNNL_ARG_DIFF_WEIGHTS_LAYER, DNNL_ARG_DIFF_WEIGHTS_ITER, DNNL_ARG_DIFF_BIAS}) {
            set_zero(backward_arguments[sum]);
        }
        backward.execute(stream, backward_arguments);
        stream.wait();
    }

    Floats result() override {
        Floats result = OneDnnForward::result();
        append(result, backward_arguments[DNNL_ARG_DIFF_WEIGHTS_LAYER], out_in);
        append(result, backward_arguments[DNNL_ARG_DIFF_WEIGHTS_ITER], out_in);
        append(result, backward_arguments[DNNL_ARG_DIFF_BIAS], bias);
        append(result, backward_arguments[DNNL_ARG_DIFF_SRC_LAYER], batch_first);
        append(result, backward_arguments[DNNL_ARG_DIFF_SRC_ITER], state);
        return result;
    }
};

// ---------------------------------------------------------------------------------------------------- the talk

void say_failed(const std::string& name, std::string reason) {
    std::replace_if(reason.begin(), reason.end(), [](unsigned char letter) { return std::iscntrl(letter); }, ' ');
    std::cout << "failed\t" << name << "\t" << reason << '\n';
}

// Makes the candidate for a work: each kind has one at most.
void open_work(std::unique_ptr<Candidate>& candidate, const std::string& directory, const std::string& work) {
    candidate.reset();
    const size_t dash = work.find('-');
    const std::string kind = work.substr(0, dash), name = kind == "step" ? "Eigen" : "oneDNN";
    const Data data{directory, work, std::stoi(work.substr(dash + 1))};
    try {
        if (kind == "step") candidate = eigen_step(data);
        if (kind == "forward") candidate = std::make_unique<OneDnnForward>(data, STEPS, BATCH);
        if (kind == "sequence") candidate = std::make_unique<OneDnnForward>(data, LONG_STEPS, 1);
        if (kind == "training") candidate = std::make_unique<OneDnnTraining>(data);
        if (candidate) std::cout << "candidate\t" << name << '\n';
    } catch (const std::exception& error) {
        say_failed(name, error.what());
    }
    std::cout << "end\n";
}

void say_result(Candidate& candidate, const std::string& directory) {
    const Floats result = candidate.result();
    std::ofstream file(directory + "/result-" + std::to_string(getpid()) + ".f32", std::ios::binary);
    file.write(reinterpret_cast<const char*>(result.data()), result.size() * sizeof(float));
    if (!file.flush()) throw std::runtime_error("the result could not be written");
    std::cout << "done\n";
}

// The shortest of the runs in some time, at least one, in seconds.
void say_shortest(Candidate& candidate, int milliseconds) {
    using Clock = std::chrono::steady_clock;
    const auto start = Clock::now(), end = start + std::chrono::milliseconds(milliseconds);
    Clock::duration best = Clock::duration::max();
    do {
        const auto run_start = Clock::now();
        candidate.run();
        best = std::min(best, Clock::now() - run_start);
    } while (Clock::now() < end);
    std::cout << "seconds\t" << std::chrono::duration<double>(best).count() << '\n';
}

int main(int count, char** arguments) {
    if (count != 3) {
        const dnnl_version_t& version = *dnnl_version();
        std::cout << "cpp_peers THREADS DIRECTORY, with Eigen " << EIGEN_WORLD_VERSION << '.' << EIGEN_MAJOR_VERSION
                  << '.' << EIGEN_MINOR_VERSION << " and oneDNN " << version.major << '.' << version.minor << '.'
                  << version.patch << '\n';
        return count == 2 && arguments[1] == std::string("--version") ? 0 : 2;
    }
    omp_set_num_threads(std::stoi(arguments[1]));
    const std::string directory = arguments[2];
    std::unique_ptr<Candidate> candidate;
    for (std::string line; std::getline(std::cin, line); std::cout.flush()) {
        std::istringstream fields(line);
        std::string action, name, milliseconds;
        std::getline(std::getline(std::getline(fields, action, '\t'), name, '\t'), milliseconds);
        try {
            if (action == "open") {
                open_work(candidate, directory, name);
            } else if (!candidate) {
                say_failed(name, "there is none");
            } else if (action == "result") {
                say_result(*candidate, directory);
            } else {
                say_shortest(*candidate, std::stoi(milliseconds));
            }
        } catch (const std::exception& error) {
            say_failed(name, error.what());
        }
    }
}
