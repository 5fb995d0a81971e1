// SPDX-License-Identifier: MIT
// The part of Metal Performance Shaders that the Metal backend uses, as the double has it. Names,
// types and values are held to Apple's by tools/check_metal_facts.
#pragma once

#import <MetalPerformanceShaders/MPSCore.h>
#import <MetalPerformanceShaders/MPSImageKernels.h>
#import <MetalPerformanceShaders/MPSLosses.h>
#import <MetalPerformanceShaders/MPSMatrixKernels.h>
#import <MetalPerformanceShaders/MPSNeuralNetwork.h>
#import <MetalPerformanceShaders/MPSNormalization.h>
#import <MetalPerformanceShaders/MPSRNN.h>
