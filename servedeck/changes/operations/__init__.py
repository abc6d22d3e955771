"""Operations on an existing serving, its Pods and nodes: scale, restart, stop, delete, …"""
