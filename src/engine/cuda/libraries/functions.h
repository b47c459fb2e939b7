// The functions of CUDA's libraries that candle, cudarc and this engine call, by the names that they have in
// CUDA 12 and 13. One that is missing here makes the link fail, or the program need its library to start:
// tools/check/cuda_start.sh tells.

// The driver.
#define DRIVER(F) \
    F(cuCtxCreate_v2) F(cuCtxCreate_v3) F(cuCtxCreate_v4) F(cuCtxDestroy_v2) F(cuCtxGetCacheConfig) \
    F(cuCtxGetCurrent) F(cuCtxGetLimit) F(cuCtxGetStreamPriorityRange) F(cuCtxSetCacheConfig) \
    F(cuCtxSetCurrent) F(cuCtxSetFlags) F(cuCtxSetLimit) F(cuCtxSynchronize) \
    F(cuDestroyExternalMemory) F(cuDeviceGet) F(cuDeviceGetAttribute) F(cuDeviceGetCount) \
    F(cuDeviceGetDefaultMemPool) F(cuDeviceGetMemPool) F(cuDeviceGetName) F(cuDeviceGetUuid) \
    F(cuDeviceGetUuid_v2) F(cuDevicePrimaryCtxRelease_v2) F(cuDevicePrimaryCtxRetain) \
    F(cuDeviceSetMemPool) F(cuDeviceTotalMem_v2) F(cuEventCreate) F(cuEventDestroy_v2) \
    F(cuEventElapsedTime) F(cuEventElapsedTime_v2) F(cuEventQuery) F(cuEventRecord) \
    F(cuEventSynchronize) F(cuExternalMemoryGetMappedBuffer) F(cuFuncGetAttribute) \
    F(cuFuncSetAttribute) F(cuFuncSetCacheConfig) F(cuGetErrorName) F(cuGetErrorString) \
    F(cuGraphClone) F(cuGraphDestroy) F(cuGraphExecDestroy) F(cuGraphInstantiateWithFlags) \
    F(cuGraphLaunch) F(cuGraphUpload) F(cuImportExternalMemory) F(cuInit) \
    F(cuLaunchCooperativeKernel) F(cuLaunchHostFunc) F(cuLaunchKernel) F(cuMemAdvise) \
    F(cuMemAdvise_v2) F(cuMemAllocAsync) F(cuMemAllocFromPoolAsync) F(cuMemAllocManaged) \
    F(cuMemAlloc_v2) F(cuMemFreeAsync) F(cuMemFreeHost) F(cuMemFree_v2) F(cuMemGetInfo_v2) \
    F(cuMemHostAlloc) F(cuMemPoolCreate) F(cuMemPoolDestroy) F(cuMemPoolGetAttribute) \
    F(cuMemPoolSetAttribute) F(cuMemPoolTrimTo) F(cuMemPrefetchAsync) F(cuMemPrefetchAsync_ptsz) \
    F(cuMemPrefetchAsync_v2) F(cuMemcpyDtoDAsync_v2) F(cuMemcpyDtoD_v2) F(cuMemcpyDtoHAsync_v2) \
    F(cuMemcpyDtoH_v2) F(cuMemcpyHtoDAsync_v2) F(cuMemcpyHtoD_v2) F(cuMemcpyPeerAsync) \
    F(cuMemsetD8Async) F(cuMemsetD8_v2) F(cuModuleGetFunction) F(cuModuleGetGlobal_v2) \
    F(cuModuleLoad) F(cuModuleLoadData) F(cuModuleUnload) F(cuOccupancyAvailableDynamicSMemPerBlock) \
    F(cuOccupancyMaxActiveBlocksPerMultiprocessor) \
    F(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags) F(cuOccupancyMaxActiveClusters) \
    F(cuOccupancyMaxPotentialBlockSize) F(cuOccupancyMaxPotentialBlockSizeWithFlags) \
    F(cuOccupancyMaxPotentialClusterSize) F(cuProfilerStart) F(cuProfilerStop) \
    F(cuStreamAttachMemAsync) F(cuStreamBeginCapture_v2) F(cuStreamCreate) \
    F(cuStreamCreateWithPriority) F(cuStreamDestroy_v2) F(cuStreamEndCapture) \
    F(cuStreamGetCaptureInfo_v2) F(cuStreamGetCaptureInfo_v3) F(cuStreamIsCapturing) \
    F(cuStreamSynchronize) F(cuStreamWaitEvent)

// cuBLAS.
#define CUBLAS(F) \
    F(cublasCreate_v2) F(cublasDasum_v2) F(cublasDestroy_v2) F(cublasDgemmStridedBatched) \
    F(cublasDgemm_v2) F(cublasDgemv_v2) F(cublasGemmEx) F(cublasGemmGroupedBatchedEx) \
    F(cublasGemmStridedBatchedEx) F(cublasGetPointerMode_v2) F(cublasGetStatusName) \
    F(cublasGetStatusString) F(cublasSasum_v2) F(cublasSetPointerMode_v2) F(cublasSetStream_v2) \
    F(cublasSgemmStridedBatched) F(cublasSgemm_v2) F(cublasSgemv_v2)

// cuBLASLt.
#define CUBLASLT(F) \
    F(cublasLtCreate) F(cublasLtDestroy) F(cublasLtGetStatusName) F(cublasLtGetStatusString) \
    F(cublasLtLoggerOpenFile) F(cublasLtLoggerSetLevel) F(cublasLtMatmul) \
    F(cublasLtMatmulAlgoGetHeuristic) F(cublasLtMatmulDescCreate) F(cublasLtMatmulDescDestroy) \
    F(cublasLtMatmulDescSetAttribute) F(cublasLtMatmulPreferenceCreate) \
    F(cublasLtMatmulPreferenceDestroy) F(cublasLtMatmulPreferenceSetAttribute) \
    F(cublasLtMatrixLayoutCreate) F(cublasLtMatrixLayoutDestroy) F(cublasLtMatrixLayoutSetAttribute)

// cuRAND.
#define CURAND(F) \
    F(curandCreateGenerator) F(curandDestroyGenerator) F(curandGenerate) F(curandGenerateLogNormal) \
    F(curandGenerateLogNormalDouble) F(curandGenerateLongLong) F(curandGenerateNormal) \
    F(curandGenerateNormalDouble) F(curandGeneratePoisson) F(curandGenerateUniform) \
    F(curandGenerateUniformDouble) F(curandSetGeneratorOffset) F(curandSetPseudoRandomGeneratorSeed) \
    F(curandSetStream)

// NVRTC.
#define NVRTC(F) \
    F(nvrtcCompileProgram) F(nvrtcCreateProgram) F(nvrtcDestroyProgram) F(nvrtcGetErrorString) \
    F(nvrtcGetPTX) F(nvrtcGetPTXSize) F(nvrtcGetProgramLog) F(nvrtcGetProgramLogSize)

// The runtime, which only candle's kernels for quantised models use: what nvcc puts beside every kernel.
#define RUNTIME(F) \
    F(__cudaGetKernel) F(__cudaLaunchKernel) F(__cudaLaunchKernel_ptsz) \
    F(__cudaPopCallConfiguration) F(__cudaPushCallConfiguration) F(__cudaRegisterFatBinary) \
    F(__cudaRegisterFatBinaryEnd) F(__cudaRegisterFunction) F(__cudaRegisterVar) \
    F(__cudaUnregisterFatBinary) F(cudaDeviceGetAttribute) F(cudaFree) F(cudaFreeAsync) \
    F(cudaFreeAsync_ptsz) F(cudaFuncGetAttributes) F(cudaFuncSetAttribute) F(cudaGetDevice) \
    F(cudaGetDeviceCount) F(cudaGetErrorName) F(cudaGetErrorString) F(cudaGetLastError) \
    F(cudaLaunchKernel) F(cudaLaunchKernel_ptsz) F(cudaMalloc) F(cudaMallocAsync) \
    F(cudaMallocAsync_ptsz) F(cudaMemsetAsync) F(cudaMemsetAsync_ptsz) \
    F(cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags) F(cudaPeekAtLastError) \
    F(cudaSetDevice) F(cudaStreamSynchronize) F(cudaStreamSynchronize_ptsz)
