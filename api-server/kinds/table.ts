/** Every kind there is. */
export { events } from "./event.ts";
export { migrations } from "./migration.ts";
export { namespaces } from "./namespace.ts";
export { nodes } from "./node.ts";
export { virtualMachineInstances } from "./virtual-machine-instance.ts";
export { virtualMachines } from "./virtual-machine.ts";
export { volumes } from "./volume.ts";
