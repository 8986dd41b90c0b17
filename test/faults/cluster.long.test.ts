import { clusterFaults } from './cluster-faults.js'

clusterFaults()
