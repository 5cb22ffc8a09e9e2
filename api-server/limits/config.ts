/** The limits that an installation may have to move: many clients behind one address, or one caller that is many. */
import * as v from "valibot";
import { BUDGETS, type BudgetLimits } from "./call-budgets.ts";
import type { ConnectionLimits } from "./connections.ts";

const count = (least: number, most: number, otherwise: number) => v.optional(v.pipe(v.number(), v.integer(), v.minValue(least), v.maxValue(most)), otherwise);

export const limitsSchema = v.strictObject({
  connectionsMax: count(16, 65_536, 8_192),
  connectionsPerAddressMax: count(1, 65_536, 1_024),
  readsPerSecond: count(10, 100_000, BUDGETS.read.rate.perSecond),
  mutationsPerSecond: count(1, 100_000, BUDGETS.mutation.rate.perSecond),
  streamsPerCallerMax: count(1, 65_536, BUDGETS.stream.openMax),
});
export type LimitsConfig = v.InferOutput<typeof limitsSchema>;

export const LIMITS_HELP = `  limits:                                   of one listener, and of each caller; who is over one is told when to come back
    connectionsMax: 8192                    open at once, on each listener
    connectionsPerAddressMax: 1024          open at once from one address, or IPv6 /64, on each listener
    readsPerSecond: 500                     of each user and node; a page of a list counts ten
    mutationsPerSecond: 250                 of each user and node
    streamsPerCallerMax: 256                open watches, consoles and sessions of each user and node
`;

/** New connections from one address, at once and then; whoever was cut off is charged for hundreds. */
const PACE_BURST_PART = 0.5;
const PACE_PER_SECOND = 50;

export function limitsOf(config: LimitsConfig = v.parse(limitsSchema, {})): { connections: ConnectionLimits; budgets: BudgetLimits } {
  const { connectionsMax, connectionsPerAddressMax, readsPerSecond, mutationsPerSecond, streamsPerCallerMax } = config;
  const rate = (perSecond: number) => ({ burst: perSecond, perSecond });
  return {
    connections: { connectionsMax, address: { openMax: connectionsPerAddressMax, pace: { burst: Math.ceil(connectionsPerAddressMax * PACE_BURST_PART), perSecond: PACE_PER_SECOND } } },
    budgets: {
      read: { ...BUDGETS.read, rate: rate(readsPerSecond) },
      mutation: { ...BUDGETS.mutation, rate: rate(mutationsPerSecond) },
      stream: { rate: { burst: streamsPerCallerMax, perSecond: BUDGETS.stream.rate.perSecond }, openMax: streamsPerCallerMax },
    },
  };
}
