# Copyright (c) 2026 podnet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fields of a KubeletConfiguration (kubelet.config.k8s.io/v1beta1) by the version that brought them. Data, no I/O.

Sources, of facts and not of text: 1.20 is staging/src/k8s.io/kubelet/config/v1beta1/types.go of 1.20.2; 1.23, 1.31, 1.35 and 1.36 are the
reference page kubelet-config.v1beta1 of that version. Between these, a field's version is that of its feature gate (feature-gates/*.md of
the website) or of the change that brought it (kubernetes/kubernetes 98458 for 1.21, 105437 for 1.23, 115220 for 1.27, 114301 for 1.30,
126096 for 1.32, 127577 for 1.33). 1.37 is 1.36 and what its release notes add (140052).
"""

from __future__ import annotations

# minor version -> kind of value -> fields. `a.b` is the field b of the object a, `a[].b` that of each object in the list a.
SINCE: dict[int, dict[str, str]] = {
    20: {
        "bool": """
            authentication.anonymous.enabled authentication.webhook.enabled cgroupsPerQOS cpuCFSQuota enableContentionProfiling
            enableControllerAttachDetach enableDebuggingHandlers enableServer enableSystemLogHandler failSwapOn kernelMemcgNotification
            logging.sanitization makeIPTablesUtilChains protectKernelDefaults rotateCertificates runOnce serializeImagePulls
            serverTLSBootstrap""",
        "int": """
            containerLogMaxFiles eventBurst eventRecordQPS evictionMaxPodGracePeriod healthzPort imageGCHighThresholdPercent
            imageGCLowThresholdPercent iptablesDropBit iptablesMasqueradeBit kubeAPIBurst kubeAPIQPS maxOpenFiles maxPods
            nodeLeaseDurationSeconds nodeStatusMaxImages oomScoreAdj podPidsLimit podsPerCore port readOnlyPort registryBurst
            registryPullQPS""",
        "text": """
            address authentication.x509.clientCAFile authorization.mode cgroupDriver cgroupRoot clusterDomain
            configMapAndSecretChangeDetectionStrategy containerLogMaxSize contentType cpuManagerPolicy hairpinMode healthzBindAddress
            kubeReservedCgroup kubeletCgroups logging.format podCIDR providerID reservedSystemCPUs resolvConf
            showHiddenMetricsForVersion staticPodPath staticPodURL systemCgroups systemReservedCgroup tlsCertFile tlsMinVersion
            tlsPrivateKeyFile topologyManagerPolicy topologyManagerScope volumePluginDir""",
        "duration": """
            authentication.webhook.cacheTTL authorization.webhook.cacheAuthorizedTTL authorization.webhook.cacheUnauthorizedTTL
            cpuCFSQuotaPeriod cpuManagerReconcilePeriod evictionPressureTransitionPeriod fileCheckFrequency httpCheckFrequency
            imageMinimumGCAge nodeStatusReportFrequency nodeStatusUpdateFrequency runtimeRequestTimeout shutdownGracePeriod
            shutdownGracePeriodCriticalPods streamingConnectionIdleTimeout syncFrequency volumeStatsAggPeriod""",
        "texts": "allowedUnsafeSysctls clusterDNS enforceNodeAllocatable tlsCipherSuites",
        "map of text": """
            evictionHard evictionMinimumReclaim evictionSoft evictionSoftGracePeriod kubeReserved qosReserved systemReserved""",
        "map of bool": "featureGates",
        "map of texts": "staticPodURLHeader",
    },
    21: {
        "bool": "enableDebugFlagsHandler enableProfilingHandler",
        "int": "reservedMemory[].numaNode",
        "text": "memoryManagerPolicy",
        "map of quantity": "reservedMemory[].limits",
    },
    22: {
        "bool": "seccompDefault",
        "number": "memoryThrottlingFactor",
        "text": "memorySwap.swapBehavior",
        "map of text": "cpuManagerPolicyOptions",
    },
    23: {
        "bool": "logging.options.json.splitStream registerNode",
        # logging.flushFrequency is nanoseconds. Later versions take a duration, too.
        "int": """
            logging.flushFrequency logging.verbosity logging.vmodule[].verbosity shutdownGracePeriodByPodPriority[].priority
            shutdownGracePeriodByPodPriority[].shutdownGracePeriodSeconds""",
        "text": """
            logging.vmodule[].filePattern registerWithTaints[].effect registerWithTaints[].key registerWithTaints[].timeAdded
            registerWithTaints[].value""",
        "quantity": "logging.options.json.infoBufferSize",
    },
    25: {"bool": "localStorageCapacityIsolation", "int": "tracing.samplingRatePerMillion", "text": "tracing.endpoint"},
    26: {"map of text": "topologyManagerPolicyOptions"},
    27: {"bool": "enableSystemLogQuery", "int": "maxParallelImagePulls", "text": "containerRuntimeEndpoint imageServiceEndpoint"},
    29: {"duration": "imageMaximumGCAge"},
    30: {"int": "containerLogMaxWorkers", "text": "podLogsDir", "duration": "containerLogMonitorInterval"},
    31: {"bool": "failCgroupV1 logging.options.text.splitStream", "quantity": "logging.options.text.infoBufferSize"},
    32: {"bool": "singleProcessOOMKill", "duration": "crashLoopBackOff.maxContainerRestartPeriod"},
    33: {
        "bool": "mergeDefaultEvictionSettings",
        "int": "userNamespaces.idsPerPod",
        "text": "imagePullCredentialsVerificationPolicy",
        "texts": "preloadedImagesVerificationAllowlist",
    },
    36: {"text": "memoryReservationPolicy", "ints": "tlsCurvePreferences"},
    37: {"map of text": "defaultPodSysctls"},
}
# The last minor version that knows a field. v1beta1 keeps its fields but for this one, which was of another, alpha type.
UNTIL = {"logging.sanitization": 23}
