/** Nodes as records; cordon and fence are in the verbs. */
import type {
  CreateNodeRequest, DeleteNodeRequest, GetNodeRequest, ListNodesRequest, UpdateNodeRequest, UpdateNodeStatusRequest, WatchNodesRequest,
} from "../../gen/drover/v1/node.ts";
import { nodes } from "../kinds/table.ts";
import type { WithCall } from "../objects.ts";
import { crud } from "./crud.ts";
import { checkNodeEmpty } from "./deletion.ts";
import type { ServiceParts } from "./service.ts";

export function nodeRecords(parts: ServiceParts) {
  const records = crud(nodes, parts);
  return {
    createNode: async (request: CreateNodeRequest, { call }: WithCall) => ({ node: await records.create(request.node, call) }),

    getNode: async (request: GetNodeRequest) => ({ node: await records.get(request) }),

    async listNodes(request: ListNodesRequest, { call }: WithCall) {
      const { items, ...page } = await records.list(request, call);
      return { ...page, nodes: items };
    },

    watchNodes: (request: WatchNodesRequest, { call }: WithCall) =>
      records.watch(request, call, (node, reason) => ({ node, reason })),

    updateNode: async (request: UpdateNodeRequest, { call }: WithCall) => ({
      node: await records.update(request.node, request, call),
    }),

    updateNodeStatus: async (request: UpdateNodeStatusRequest, { call }: WithCall) => ({
      node: await records.updateStatus(request.node, call),
    }),

    deleteNode: async (request: DeleteNodeRequest, { call }: WithCall) => {
      return { node: await records.remove(request, call, () => checkNodeEmpty(parts, request)) };
    },
  };
}
