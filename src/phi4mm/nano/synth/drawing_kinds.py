"""The kinds of drawings that nano names, and the files of Debian's `openclipart-png` that show them.

Of each kind: patterns of paths below the package's folder of PNG files, without `.png`; `*` stands for anything, a
pattern without a folder for a name in any folder. A path belongs to the first kind that matches. Hearts and stars are
left out: scenes have them, under names with a colour.
"""

from __future__ import annotations

FLAT, LEMON = "computer/icons/flat-theme/*", "computer/icons/lemon-theme/*"
KINDS: dict[str, tuple[str, ...]] = {
    kind: tuple(patterns.split())
    for kind, patterns in {
        # Animals
        "duck": "duck_yellow_kurt* jonathon_s_duck* rubber_duck[12]* Anatra papera",
        "penguin": "baby[-_]tux_* ninja_tux* plush_tux* tux_clemente* tux_head* *penguin_* pinguino_col* "
        "Pinguino* bb_pingu_",
        "bird": "acquila_* aquila_* eagle_01 gull_* seagull* gabbiano* crow_01 dove_symbol cormorant-md puffin-md "
        "bird_of_peace* uccello_* colombo2 Colombo pennuto* flamand_* gufo_* owl_* struzzo",
        "bee": "bee bee[123]_* abeille_* flying_wasp*",
        "butterfly": "butterfly* farfalla* quattro_farfalle*",
        "ladybug": "ladybug_* coccinell*",
        "insect": "animals/bugs/ant fly_01 mosquito* moschito* zanzara* blue_dragonfly* damselfly* libell* formic* "
        "cavalletta* grass_hopper* mant[ei]* insetto* punaisa*",
        "dinosaur": "animals/dinosaurs/*",
        "fish": "altum_* arctic_grey* bofish* brown_fish* clown_loach* giraffe_cichlid* pescetto* yellow_gourami*",
        "dolphin": "dolphin* orca_*",
        "frog": "rana* red-eye_frog* 2_dead_frogs*",
        "lizard": "lucertol[ao]_* lucertolon* az-lizard* lizard_* ramarro*",
        "tiger": "tiger_* tigre0* b_w_tiger* color_tiger*",
        "cat": "gatt[oi]* gattina* kitten_* sleeping_cat* cartoon_cat* cartoon_vgcats* le_mie_tigri*",
        "dog": "animals/mammals/dogs/* dog_0* dog_on_leash*",
        "horse": "cavallo_* horse_[12]*",
        "bear": "bear_peterm* orso_* ours_* sleeping_bear*",
        "elephant": "elefant* elephant* contour_elephant",
        "monkey": "*_monkey_* monkey_head* contour_baboon contour_orangutan",
        "cow": "mhooo* vacca* bull_utrescu* mucca toro_* striscia_mucche",
        "sheep": "dall_sheep* pecor* sheep-md* striscia_agnellini",
        # Food
        "apple": "an_apple* another_apple* apple apple_bw apple_bitten* apple_with* apple_core* apple_martin* "
        "apple_mateya* applf cartoon_apple* eris_apple*",
        "pear": "food/fruit/pear* green_pear* pera_*",
        "lemon": "lemon lemon1 lemon_half* lemon_simple* lemon_slice* lemon_w*",
        "lime": "lime_*",
        "orange": "food/fruit/orange* rondelle_*",
        "strawberry": "food/fruit/strawberry*",
        "bunch of grapes": "grape*",
        "pizza": "pizza_*",
        "cake": "birthday_cake food/desserts/*cake* gateau* torta_*",
        "pie": "pie_*",
        "muffin": "muffin*",
        "ice cream": "cone* glace_* ice_cream_cone* gelato_* Cornetto",
        "candy": "candy_*",
        "burger": "burger_* hamburger* chicken_burger*",
        "hot dog": "hot_dog* corn_dog*",
        "egg": "fried_egg* egg_mateya* half_egg* Uovo*",
        "stack of pancakes": "pancake*",
        "cup": "coffee_bw* coffee_ganson cuppa_* kubek_* mug* tazza_* teacup* zielony_* coffee_jean* cup_rollandin* "
        "coffe_tea*",
        "glass": "drinking_glass* food/beverages/glass_01 lemonade* martini_glass* wine_glass* ice_water* cocktail_*",
        "bottle": "bottled_* bottiglia* bottle_jean* baby_bottle* biberon",
        # Plants, sky and land
        "tree": "albero_* arbre_* fall_coloured_tree* plants/trees/tree_01 plants/trees/evergreen/* tree_-_rpg* "
        "cartoon_tree* palmtree* tree_branches* foglie_*",
        "leaf": "fall_coloured_leaf* leaf_01 cannabis* shamrock*",
        "flower": "plants/flowers/* rosa[12] rose azalea* computer/icons/flower_01",
        "sun": "sun0* sun_ff77* sun_tatiana* sole_* sunshine_*",
        "moon": "geography/astronomy/0[1-8]* moon-* moon0* moon_* full_moon* the_moon*",
        "cloud": "clouds_* cloud_jon* nuage_* network_cloud*",
        "flash of lightning": "lightning_jon*",
        "mountain": "mountain_-_rpg* hill_-_rpg*",
        "globe": "globe_* svg_globe* earth_globe* planet_earth* wire_globe* northern_hemisphere*",
        "map": "map_of_* australia* new-south-wales* northern-territory* queensland* south-australia* tasmania* "
        "victoria-* western-australia* south_australia* geography/africa_01 europe_* world_map* spain_*",
        # The house and clothes
        "house": "buildings/homes/home* casa_* house house_[cfgj]* my_house* pinkhome* small_house* big_house* "
        "chalet_* lowtec_house* abitazione_*",
        "television": "television_* tv_01 tv_zazou televisore*",
        "light bulb": "electronics/bulb/* lightbulb_sketch* cfbulb_*",
        "clock": "alarm_clock* analog* signs_and_symbols/clocks/clock* orologio* modern_clock*",
        "lock": "lock lock_-* lucchetto* padlock*",
        "box": "box_juliane* box_with_spring* cardboard_box* closed_box* open_box* out_of_the_box* scatolone",
        "hat": "hat_* *_fedora aussie_hat* baseball_cap* pimp_hat* purple_hat* slouch_hat* sombrero* tophat* "
        "adventurer_hat* winter_hat* magic_hat*",
        "pair of tights": "pantyhose_*",
        # Play and music
        "guitar": "bass_guitar* electric_guitar* guitar_*",
        "trumpet": "trumpet_[bp]* trumpet_herald* tpt_*",
        "violin": "violin_* cello_*",
        "drum": "africandrum* derbouk* djambf* drums_* war_drum*",
        "record": "45_rpm*",
        "musical note": "double_croche* double_note* funny_music* musical_note* quaver* simple_croche* sixteenth*",
        "balloon": "recreation/party/balloon-* recreation/party/baloon*",
        "gift": "gift0* pacco_regalo*",
        "ball": "beach_ball* beachball* soccer_ball* football_ball* handball_ball* volley-ball* volley_ball* "
        "blowling_ball* baseball_anthony* baseball_bw* 8ball_nicu* 8_ball* 9_ball* recreation/toys/ball",
        "teddy bear": "*teddy_bear* teddybear*",
        "chess piece": "chesspieces-* black_and_white_[bkpq]*",
        "puzzle piece": "jigsaw_*",
        "smiley": "smiley*",
        "stick figure": "people/stickmen/*",
        "card of hearts": "recreation/games/cards/*_h_*",
        "card of spades": "recreation/games/cards/*_s_*",
        "card of diamonds": "recreation/games/cards/*_d_*",
        "card of clubs": "recreation/games/cards/*_c_*",
        # School, office and computers
        "book": "book_0* closed_bible* closed_book* diary_* libro_* old_book* open_bible* open_book* paperback* "
        "stara_ksiega* stack_of_books*",
        "pencil": "pencil* crayon pen_pencil* mars_lumograph*",
        "pen": "education/pen_* ballpoint_pen* pen_sek* pen1",
        "pair of scissors": "scissors* forbici*",
        "envelope": "addressed_envelope* envelop* mail[12] lettera_* bb_mail* aiga_mail*",
        "folder": f"computer/folders/* fancy_folder* folder* bb_fldr* {FLAT}folder* {LEMON}folder*",
        "magnifying glass": f"mag[1-4] magnif* lens_lente* lente_* {FLAT}viewmag* {LEMON}viewmag*",
        "pin": "pin_-* puntine_* thumbtack*",
        "telephone": "phone phone_handset* red_telephone* telephone_* ip_phone* classic_phone* aiga_telephone*",
        "mobile phone": "cellular_phone* handphone* mobile mobile_phone* slim_cell* sprint_cell*",
        "camera": "camera_* digital_camera* digital-camera* nikon_* macchina_fotografica*",
        "printer": "printer printer1 printer_* stampante_* laserprinter etiquette_printer*",
        "computer mouse": "mouse mouse[12] mouse_scroll* mouse_the*",
        "keyboard": "keyboard keyboard_0* computer_keyboard* Computer-Keyboard* keyb1",
        "screen": "crt_monitor* flat_screen* lcd lcd_* monitor tft_screen* schermo_* video_lcd*",
        "floppy disk": "floppy* disquete*",
        "battery": f"electronics/battery/* {FLAT}laptop_* {LEMON}laptop_*",
        "network switch": "24_ports* 48_ports* 8port_* switch_*",
        # Tools, traffic and signs
        "gear": "cog_01 engrenagem* ruota_dentata*",
        "gun": "9_mm_gun* ak47* blue_gun* m16_*",
        "bullet hole": "bullet_hole*",
        "car": "car_jamin* transportation/vehicles/car hummer_* *chevrolet* dodge_* redcar* skoda_* old_car* "
        "formula_one* toyota* blazer_* sportcar*",
        "bus": "bus[12]_* transportation/bus_01 aiga_bus*",
        "truck": "big_truck* old_truck* small_truck* truck_*",
        "bicycle": "bicycle_* bike_* bicicletta* vtt_*",
        "airplane": "aircraft_* shapes/airplane* plane_* departing_plane* military_airplane* aiga_air_*",
        "boat": "boat_jarno* sailboat_* trawler* the_mad_little_ship*",
        "no smoking sign": "no_smoking* nosmoke* aiga_no_smoking* defense_de_fumer*",
        "skull": "skull* cute_skull* teschio* crossbones*",
        "arrow": "shapes/arrows/arrow* computer/buttons/arrow-*",
        "speech bubble": "shapes/callouts/*",
        "flag": "signs_and_symbols/flags/[aeo]*",
        "button": "button-* pill-button* tasto_* pulsante_* button_01 aqua_button*",
        "mouth": "mouth_-* lips_mo* red_lips*",
        "eye": "blue_eye* eye_* eyes_* woman_eye*",
        "woman": "woman* silhouette_female* ragazza_* signorin*",
        "man": "man0* people/man_* silhouette_male* grandpa*",
    }.items()
}
