/** Namespaces. */
import type {
  CreateNamespaceRequest, DeleteNamespaceRequest, GetNamespaceRequest, ListNamespacesRequest, UpdateNamespaceRequest,
  WatchNamespacesRequest,
} from "../../gen/drover/v1/namespace.ts";
import { namespaces } from "../kinds/table.ts";
import type { WithCall } from "../objects.ts";
import { crud } from "./crud.ts";
import { checkNamespaceEmpty } from "./deletion.ts";
import type { ServiceParts } from "./service.ts";

export function namespaceRecords(parts: ServiceParts) {
  const records = crud(namespaces, parts);
  return {
    createNamespace: async (request: CreateNamespaceRequest, { call }: WithCall) => ({
      namespace: await records.create(request.namespace, call),
    }),

    getNamespace: async (request: GetNamespaceRequest) => ({ namespace: await records.get(request) }),

    async listNamespaces(request: ListNamespacesRequest, { call }: WithCall) {
      const { items, ...page } = await records.list(request, call);
      return { ...page, namespaces: items };
    },

    watchNamespaces: (request: WatchNamespacesRequest, { call }: WithCall) =>
      records.watch(request, call, (namespace, reason) => ({ namespace, reason })),

    updateNamespace: async (request: UpdateNamespaceRequest, { call }: WithCall) => ({
      namespace: await records.update(request.namespace, request, call),
    }),

    deleteNamespace: async (request: DeleteNamespaceRequest, { call }: WithCall) => {
      return { namespace: await records.remove(request, call, () => checkNamespaceEmpty(parts, request)) };
    },
  };
}
