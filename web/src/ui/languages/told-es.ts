/** Una frase en español para cada código de client/told.ts. */

import type { ToldCode } from "../../client/told.ts";

const code = (why: string) =>
  `${why}. Recarga la página; si se repite, pregunta a quien lleva el servidor`;
const pieced = "Puede que lo cambiaran por el camino";

export const told = {
  bad_frame: code("El servidor no entendió a este navegador (bad_frame)"),
  bad_record: code("Un registro no es como debe ser (bad_record)"),
  bad_key: "Una clave no es como debe ser (bad_key)",
  bad_signature: "Una firma no es válida (bad_signature)",
  too_large: "Es demasiado grande para este servidor",
  unsupported_version:
    "El otro lado habla una versión que este no conoce: uno de los dos es antiguo",
  out_of_order: code("Un mensaje llegó fuera de su orden (out_of_order)"),
  stale_challenge: code("La conexión era ya otra (stale_challenge)"),
  wrong_transport_key: code("La conexión era ya otra (wrong_transport_key)"),
  wrong_relay: "Tu servidor es otro y no este: elígelo en Miembros",
  not_attached: "El servidor tenía esta sala cerrada en tu conexión: inténtalo de nuevo",
  not_found: "El servidor no conoce esta sala, o no estás en ella",
  forbidden: "Tu papel, o las reglas del servidor, no lo permiten",
  epoch_stale: "La sala acaba de cambiar de clave: inténtalo de nuevo",
  ctl_stale: "La sala acaba de cambiar: inténtalo de nuevo",
  conflict: "Otra persona cambió la sala en el mismo momento: inténtalo de nuevo",
  counter_gap: "Tus mensajes llegaron en otro orden: inténtalo de nuevo",
  prev_mismatch: "Tus mensajes llegaron en otro orden: inténtalo de nuevo",
  fork: "El servidor muestra a este navegador otra historia que antes: puede que no sea de fiar",
  hub_behind: "El servidor ha perdido el final de la historia de la sala: puede que lo recupere",
  seen_stale: "Este navegador iba demasiado atrasado: inténtalo de nuevo",
  cell_mismatch: code("Un mensaje y su sobre no van juntos (cell_mismatch)"),
  sid_conflict: "Este mismo mensaje ya se envió",
  boxed_required: "Un dueño debe renovar antes la clave de la sala: inténtalo dentro de un momento",
  box_list_mismatch: "Los miembros acaban de cambiar: inténtalo de nuevo",
  room_closed: "La sala se cerró: todos han salido",
  room_full: "La sala está llena",
  already_member: "Quien lo pide está, o estuvo, en la sala con las mismas claves",
  root_must_hand_over: "El dueño debe entregar antes la sala",
  invite_unknown: "La invitación se usó, se retiró o caducó: pide otra",
  invite_used: "Otra persona usó esta invitación: pide otra",
  join_not_ready: "Aún no ha contestado nadie: sigue solo",
  evicted: "Te han expulsado de la sala",
  left: "Has salido de la sala",
  quota: "El servidor, o la sala, no tiene sitio para esto: menos, o más tarde",
  rate_limited: "Fue demasiado de una vez: espera un momento",
  stalled: "La sala espera a que un dueño renueve su clave",
  try_again: "El servidor está ocupado: inténtalo dentro de un momento",
  storage_failed: "El servidor no pudo guardarlo: inténtalo dentro de un momento",
  shutting_down: "El servidor se está reiniciando: inténtalo dentro de un momento",
  hub_away: "El servidor de la sala no está: el tuyo lo espera",
  expired: "Esperó demasiado en tu servidor al de la sala",
  not_federated: "Los dos servidores no se hablan: pregunta a quien lleva el tuyo",
  blob_gone: "El archivo ya no está: pídeselo a quien lo envió",
  internal: "El servidor cometió un error: inténtalo dentro de un momento",
  refused: "El servidor no lo admite, por una razón que esta página no conoce ({1})",

  "join.malformed": "La respuesta no es como debe ser",
  "join.wrong_room": "La respuesta es de otra sala o de otro servidor",
  "join.invite_unknown": "La invitación se usó, se retiró o caducó: pide otra",
  "join.invite_expired": "La invitación ha caducado: pide otra",
  "join.not_an_admitter": "Contestó alguien que no puede admitir a nadie con esta invitación",
  "join.bad_signature": "Lo que llegó no lo firmó quien dice: puede haber alguien en medio",
  "join.bad_key": "La sala tiene junto a tu nombre otra clave que la tuya: no la uses",
  "join.bad_chain":
    "Lo que el servidor muestra de la sala no concuerda con la invitación: puede haber alguien en medio",
  "join.bad_cell": "La respuesta sellada no se abre: pide otra invitación",
  "join.wrong_transcript": "La respuesta es a otra pregunta que la tuya",
  "join.bad_proof":
    "Alguien intentó entrar con una invitación sin tener su enlace: retírala y haz otra",
  "join.bad_box": "Lo que envió quien pide entrar no se abre o no encaja",
  "join.already_member": "Quien lo pide está, o estuvo, en la sala con las mismas claves",
  "join.invite_used":
    "Dos personas usaron el mismo enlace de invitación: puede que alguien más lo viera. Haz uno para cada una",
  "join.epoch_moved": "La sala cambió de clave entretanto: sigue solo",

  "log.gap": "El servidor se dejó algo antes de la entrada {1}: se le pide otra vez",
  "log.not_a_record": "El servidor entregó como entrada {1} algo que no es un registro",
  "log.fork": "En la entrada {1} a alguien se le mostró otra historia que a ti",
  "log.stale_seen": "Quien escribió la entrada {1} no había visto la sala desde hacía mucho",
  "log.sender_gap": "Falta un mensaje del miembro que escribió la entrada {1}, anterior a ella",
  "log.sender_prev": "Antes de la entrada {1}, su miembro había escrito otro mensaje",
  "log.sender_fork": "Quien escribió la entrada {1} dice dos cosas a la vez con un mismo número",
  "log.replay": "La entrada {1} ya se entregó: el servidor la repite",
  "log.voided": "Quien escribió la entrada {1} la retiró, y aun así llegó",
  "log.bad_head": "Lo que el servidor firmó sobre la entrada {1} no es válido",
  "log.equivocation":
    "El servidor de la sala ha firmado dos historias distintas hasta la entrada {1}",

  "unreadable.not_an_event": "no es un mensaje",
  "unreadable.wrong_room": "es de otra sala",
  "unreadable.not_a_member": "quien lo envió no estaba en la sala",
  "unreadable.may_not_post": "quien lo envió no podía escribir",
  "unreadable.may_not_attach": "quien lo envió no podía enviar archivos",
  "unreadable.bad_signature": "su firma no es válida",
  "unreadable.wrong_epoch": "está sellado con una clave de otro momento",
  "unreadable.stale_control": "quien lo envió no conocía la sala tal como era",
  "unreadable.cell_gone": "el servidor ya no lo tiene",
  "unreadable.cell_mismatch": "el servidor entregó otro texto que el firmado",
  "unreadable.missing_key": "su clave aún no está aquí",
  "unreadable.key_lost": "su clave nunca llegó aquí",
  "unreadable.bad_seal": "no se abre: lo cambiaron, o se selló con otra clave",
  "unreadable.bad_body": "lo que contiene no es como debe ser",
  "unreadable.inner_mismatch": "dice por dentro que es otro mensaje",
  "unreadable.not_a_bridge": "habla por alguien de fuera, y quien lo envió no es un puente",

  "file.too_large": "caben 240 MiB, y es mayor",
  "file.changed": "cambió mientras se leía: envíalo otra vez",
  "file.claims": "su tamaño y sus trozos, según quien lo envió, no cuadran",
  "file.altered": `no es el que describió quien lo envió. ${pieced}`,
  "file.missing": `le faltan trozos. ${pieced}`,

  "body.too_long": "es demasiado largo para un mensaje: divídelo",
  "body.invalid": "contiene algo que no se puede enviar",

  "vault.there": "Ya hay claves en este navegador: recarga la página",
  "vault.missing": "Ya no hay claves en este navegador: recarga la página",
  "vault.passphrase": "Esta no es la frase. Inténtalo de nuevo.",
  "vault.damaged":
    "Lo que se guarda en este navegador se cambió desde fuera y no es de fiar. Solo puedes olvidarlo y pedir otra invitación.",
  "vault.full":
    "A este navegador no le queda sitio: no se puede guardar nada nuevo. Libera espacio en este aparato; lo que hay aquí está a salvo.",
  "vault.locked": "Tus claves se cerraron entretanto, o se usan en otra pestaña",
  "vault.not_removed":
    "El navegador no dejó quitarlo: cierra todas sus otras pestañas e inténtalo de nuevo",
  "vault.not_read": "El navegador no pudo leer lo que guarda: recarga la página",
  "vault.not_written": "El navegador no pudo guardarlo: inténtalo de nuevo, o recarga la página",

  relay_away: "Ahora no se puede llegar al servidor. Inténtalo dentro de un momento.",
  not_that_relay:
    "En {1} responde otro servidor que el de ese identificador. No se ha hecho nada: comprueba las dos cosas con quien lo lleva",
  other_relay:
    "En {1} contesta otro servidor que el conocido: quien lo lleva ha cambiado su clave, o alguien ocupa su lugar. Pregúntale, por otro medio.",
  relay_key_new:
    "El servidor de {1} ha cambiado su clave. La antigua ha firmado la nueva, y este navegador sigue con ella: no hay nada que hacer.",
  relay_key_old:
    "El servidor de {1} muestra una clave que ya había cambiado: se restauró una copia antigua, o alguien tiene esa clave. Pregunta a quien lo lleva.",
  relay_key_two:
    "Dos claves dicen seguir a la misma clave antigua del servidor de {1}: alguien más la tiene, o se cambió dos veces. Este navegador se queda con la que conoció primero. Pregunta a quien lleva el servidor, por otro medio.",
  key_missing: "su clave no está aquí",
  key_rejected:
    "La clave de la sala que alguien dio a este navegador no es la que nombra el registro de la sala. No se ha aceptado: pregunta al propietario por otra vía.",
  key_replaced:
    "Tu clave de cifrado fue reemplazada y la nueva no está aquí. Si no has restaurado una copia anterior, alguien tiene tus claves: pide a un propietario que te quite y entra de nuevo",
  key_old:
    "La clave de la sala debería haberse renovado hace mucho: un propietario tiene que conectarse, en el navegador o con ofc",
  join_abandoned:
    "Alguien recibió la clave de la sala con una invitación y nunca entró. La invitación se cierra y el programa de un propietario renueva la clave; quien invitó debería preguntar",
  unverifiable: "El servidor entregó un registro que no es válido. {*}",
  relay_behind:
    "El servidor ha perdido parte de la historia de la sala: no se envía nada hasta que la recupere",
  copy_behind:
    "La copia que tu servidor tiene de esta sala va por detrás de lo que ya has visto: se le vuelve a preguntar hasta que se ponga al día, y lo que escribes espera. Si no termina, habla con quien lo administra o usa otro servidor en Miembros.",
  two_logs: "El servidor de la sala ha firmado dos historias distintas hasta la entrada {1}",
  hub_word:
    "El servidor de la sala ha firmado hasta la entrada {1} otra historia que la entregada aquí",
  member_word: "{2} ha firmado hasta la entrada {1} otra historia que la entregada aquí",
  unproven:
    "Tu servidor dice que el de esta sala muestra dos historias, pero no prueba nada: la sala sigue aquí, y lo que escribes espera. Pregunta a quien lleva tu servidor.",
  home_unknown:
    "Tu servidor es uno cuya dirección este navegador no conoce, así que usa el de la sala. Elige un servidor en Miembros.",
  eviction_void:
    "{*}: se había sacado de la sala, y está otra vez en ella: su propietario la llevó a un servidor que no tenía esa expulsión. Un propietario tiene que repetirla.",
  removal_void:
    "Te habían sacado de esta sala, y estás otra vez en ella: su propietario la llevó a un servidor que no tenía esa expulsión. Un propietario puede repetirla.",
  admission_void:
    "El propietario llevó esta sala a un servidor que no tenía tu admisión: ya no estás en la sala. Pide otra invitación.",
  two_moves:
    "El propietario ha firmado dos traslados de esta sala que no pueden ser a la vez. Uno de ellos vale para todos. Pregúntale cuál quería.",
  move_unknown:
    "El propietario trasladó esta sala porque su servidor no volverá, y este navegador no puede saber qué de ella sigue valiendo. Pide a un propietario que te saque y te invite de nuevo.",
  "move.already_there": "Ese servidor ya es el de esta sala",
  "move.no_copy": "Nadie de esta sala usa ese servidor: no tiene copia de ella",
  "move.other_log":
    "La copia de ese servidor es de otra historia que la que se mostró aquí: no sigas a partir de ella",
  "move.copy_lacks":
    "A la copia de ese servidor le falta un cambio de la sala que tú has visto (una expulsión, por ejemplo), que quedaría en nada: así que no se ha hecho nada. Usa la copia de otro servidor; si ninguna lo tiene, haz que recuperen el servidor de antes con su copia de seguridad, o crea otra sala.",
  "move.copy_changed": "La copia de ese servidor ha cambiado entretanto: mira otra vez",
  "move.other_meant":
    "Ese servidor dice que es otro el que ha de seguir con la sala: revisa su dirección, o usa la copia de otro servidor",
  "move.not_taken":
    "Ese servidor no se hace cargo de la sala: puede que quien lo lleva tenga que permitirlo, o que según su copia no seas el propietario. Pregúntale, o usa la copia de otro servidor",
  "move.moved_often":
    "La sala se ha trasladado demasiadas veces desde que se renovó su clave: renuévala antes, desde donde se llega ahora a la sala",
  "move.copy_busy":
    "Ese servidor todavía recibe del de la sala, y se está poniendo al día, así que no se ha hecho nada: prueba otra vez en un minuto. Si aquel sigue ahí, traslada la sala con él.",
  "move.term_signed":
    "Has firmado que la sala siga a partir de una copia, y eso puede valer en algún servidor: anularía este traslado. En su lugar, haz que la sala siga a partir de una copia, más abajo.",
  "move.unanswered":
    "Ese servidor se fue antes de responder, así que aún nadie sabe si la sala se ha trasladado. Este navegador le preguntará en cuanto vuelva: espera a eso antes de elegir otra copia.",
  move_failed: "La sala iba a seguir a partir de la copia de otro servidor, y no lo ha hecho. {*}",
  file_stays: "El servidor conserva, sellado, un archivo que has borrado. {*}",
  out_void:
    "Aquello a lo que esto se refiere quedó en nada cuando el propietario llevó la sala a otro sitio: si alguien lo dice otra vez, hazlo tú también",
  out_unknown:
    "Este navegador quedó fuera de la sala antes de saber si esto se envió: míralo, y dilo otra vez si no está",
  out_put_back:
    "Lo que guarda este navegador volvió a un estado anterior, y lo enviado después ya no está en el servidor: puede que esto ya se dijera",
  out_gone: "Ya no estás en esta sala",
  out_gone_doubtful: "Ya no estás en esta sala (puede que esto se enviara antes)",
  browser: "Tu navegador no dejó que esta página lo hiciera ({1})",
  bug: "La página cometió un error; recárgala. Dice: {1} {2}",
} satisfies Record<ToldCode, string>;
