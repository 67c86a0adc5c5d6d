"""Programs in containers of others, over the WebSocket by which Kubernetes and container runtimes stream them."""
