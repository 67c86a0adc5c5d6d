"""containerd, CRI-O and whatever else speaks the Container Runtime Interface (CRI), version 1, by gRPC.

gRPC and protobuf are the optional extra `cri`, loaded when a runtime's socket is first there to be asked: only
`connection` and `schema` import them.
"""
