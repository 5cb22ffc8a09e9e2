/** How many migrations may run at once where the controller's configuration says nothing else. */
export const SLOTS = { fleet: 5, outboundPerNode: 2, inboundPerNode: 2 } as const;
