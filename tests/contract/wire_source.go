// Writes what servedeck/demo/api/wire.json holds, from the published types of Kubernetes: for each
// definition the protobuf number and JSON name of its fields. A name begins with "*" for a pointer,
// "!" for a value without omitempty, "=" for an embedded struct.
//
//	go mod init wire && go get k8s.io/api@v0.36.3 && go run wire_source.go
package main

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	authn "k8s.io/api/authentication/v1"
	authz "k8s.io/api/authorization/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	coordv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discv1 "k8s.io/api/discovery/v1"
	netv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var out = map[string]map[string]string{}

func name(t reflect.Type) string {
	p := strings.Split(t.PkgPath(), "/")
	n := len(p)
	if strings.Contains(t.PkgPath(), "apimachinery") {
		return "io.k8s.apimachinery." + strings.Join(p[2:], ".") + "." + t.Name()
	}
	return "io.k8s.api." + p[n-2] + "." + p[n-1] + "." + t.Name()
}

func walk(t reflect.Type) {
	switch t.Kind() {
	case reflect.Ptr, reflect.Slice, reflect.Array, reflect.Map:
		walk(t.Elem())
		return
	case reflect.Struct:
	default:
		return
	}
	nm := name(t)
	if _, ok := out[nm]; ok || t.Name() == "Time" || t.Name() == "MicroTime" || t.Name() == "Quantity" || t.Name() == "IntOrString" || t.Name() == "FieldsV1" || t.Name() == "RawExtension" {
		return
	}
	m := map[string]string{}
	out[nm] = m
	var fields func(t reflect.Type)
	fields = func(t reflect.Type) {
		for i := 0; i < t.NumField(); i++ {
			f := t.Field(i)
			pb := f.Tag.Get("protobuf")
			js := strings.Split(f.Tag.Get("json"), ",")[0]
			if pb == "" {
				continue
			}
			num := strings.Split(pb, ",")[1]
			if f.Anonymous && js == "" && (f.Type.Kind() == reflect.Struct) && f.Type.Name() != "TypeMeta" {
				m[num] = "=" + name(f.Type) // embedded: its message is the same JSON object
				walk(f.Type)
				continue
			}
			if js != "" && js != "-" {
				mark := ""
				if f.Type.Kind() == reflect.Ptr {
					mark = "*"
				} else if !strings.Contains(f.Tag.Get("json"), "omitempty") && !strings.Contains(f.Tag.Get("json"), "omitzero") {
					mark = "!"
				}
				m[num] = mark + js
			}
			walk(f.Type)
		}
	}
	fields(t)
}

func main() {
	for _, v := range []any{corev1.ConfigMap{}, corev1.Endpoints{}, corev1.Event{}, corev1.LimitRange{}, corev1.Namespace{}, corev1.Node{}, corev1.PersistentVolumeClaim{}, corev1.PersistentVolume{}, corev1.Pod{}, corev1.ReplicationController{}, corev1.ResourceQuota{}, corev1.Secret{}, corev1.ServiceAccount{}, corev1.Service{},
		appsv1.DaemonSet{}, appsv1.Deployment{}, appsv1.ReplicaSet{}, appsv1.StatefulSet{}, authn.SelfSubjectReview{}, authz.SelfSubjectAccessReview{}, authz.SelfSubjectRulesReview{}, autoscalingv2.HorizontalPodAutoscaler{}, autoscalingv1.Scale{}, batchv1.CronJob{}, batchv1.Job{}, netv1.Ingress{}, netv1.IngressClass{}, netv1.NetworkPolicy{}, policyv1.PodDisruptionBudget{}, rbacv1.Role{}, rbacv1.RoleBinding{}, storagev1.StorageClass{}, discv1.EndpointSlice{}, coordv1.Lease{}, metav1.DeleteOptions{}} {
		walk(reflect.TypeOf(v))
	}
	json.NewEncoder(os.Stdout).Encode(out)
}
